import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct ContextTests {
    private static let pipeline = """
        kind: Pipeline
        name: shop
        parameters: { level: { type: int, default: 2 } }
        variables: { COLOUR: blue, SHADE: "dark ${{ vars.COLOUR }}" }
        stages:
          - name: build
            jobs:
              image:
                steps:
                  - run: "say ${{ inputs.level }} ${{ vars.COLOUR }} ${{ run.number }} ${{ run.actor }}"
                  - run: "left ${{ env.COLOUR }} ${{ secrets.KEY }} ${{ job.status }} ${{ runner.os }} of ${{ pipeline }}"
                  - run: "both ${{ steps.a.outputs.x || parameters.level }} ${{ hashFiles(format('{0}', vars.COLOUR)) }}"
                  - { run: check, if: "inputs.level > 1 && event.action == 'opened' && steps.a.outcome == 'failed'" }
        """

    @Test func `the runner is left what it alone knows, with the values that go with it`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        _ = try await it.start("shop", [:])
        let steps = try await it.lease().steps
        let actor = steps[0].settings.string?.split(separator: " ").last ?? ""
        #expect(steps[0].settings == .string("say 2 blue 1 \(actor)"))
        #expect(steps[0].context.isEmpty && steps[0].environment["SHADE"] == "dark blue")
        let left = "left ${{ env.COLOUR }} ${{ secrets.KEY }} ${{ job.status }} ${{ runner.os }} of shop"
        #expect(steps[1].settings == .string(left))
        #expect(steps[1].context.isEmpty)
        #expect(steps[2].context["parameters"] == ["level": 2])
        #expect(steps[2].context["vars"]?["COLOUR"] == "blue")
        #expect(steps[2].context.count == 2)
        #expect(steps[3].context["inputs"] == ["level": 2])
        #expect(steps[3].context["event"] == .null)
    }

    @Test(arguments: [
        ("run: \"echo ${{ github.ref }}\"", "no expression can read \"github\", at column 10", "convert"),
        ("{ run: x, env: { A: \"${{ nope }}\" } }", "no expression can read \"nope\"", ""),
        ("{ run: x, if: evnt.action == 'a' }", "no expression can read \"evnt\", at column 1", "event"),
    ])
    func `a context that there is nowhere is refused before anything runs`(
        step: String, message: String, hint: String
    ) async throws {
        let it = try await PipelineHouse()
        let text =
            "kind: Pipeline\nname: x\nstages: [{ name: a, jobs: { b: { steps: [\(step.hasPrefix("{") ? step : "{ \(step) }")] } } }]"
        await expectRefusal(of: text, in: it, [message, hint])
    }

    private func expectRefusal(of text: String, in it: PipelineHouse, _ words: [String]) async {
        let problem = await #expect(throws: (any Error).self) { try await it.house.apply(text) }
        for word in words { #expect("\(problem.map { "\($0)" } ?? "")".contains(word)) }
    }

    @Test(arguments: [
        ("if: env.A == 'b'", "\"env\" is not known here", "variables.NAME"),
        ("if: secrets.A != ''", "\"secrets\" is not known here", "to the steps only"),
        ("if: hashFiles('a') == ''", "hashFiles() has no files here", "in a step"),
        ("outputs: { a: \"${{ job.status }}\" }", "\"job\" is not known here", "to the steps only"),
        ("matrix: { a: [\"${{ steps.x.outputs.y }}\"] }", "\"steps\" is not known here", "needs.STAGE.outputs"),
        ("cache: [{ key: \"${{ nope }}\", paths: [a] }]", "no expression can read \"nope\"", ""),
        ("environment: \"${{ matrix.e }}\"", "the name of an environment is no expression", "a job for each"),
    ])
    func `what is not known where it is written is refused there`(
        member: String, message: String, hint: String
    ) async throws {
        let it = try await PipelineHouse()
        let text = "kind: Pipeline\nname: x\nstages: [{ name: a, jobs: { b: { \(member), steps: [{ run: x }] } } }]"
        await expectRefusal(of: text, in: it, [message, hint])
    }

    @Test func `a job's condition sees the variables of its steps`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            """
            kind: Pipeline
            name: x
            variables: { A: b }
            stages:
              - name: a
                variables: { B: "${{ variables.A || vars.A }}c" }
                jobs: { b: { if: "variables.A == 'b' && variables.B == 'bc'", steps: [{ run: x }] } }
            """)
        try await it.hello()
        _ = try await it.start("x", [:])
        #expect(try await it.lease().steps.count == 1)
    }

    @Test(arguments: ["triggers: [{ push: }]", "stages: [{ name: a, jobs: { b: { steps: [{ checkout: }] } } }]"])
    func `a word with nothing behind it is refused, and says what to write`(text: String) async throws {
        let it = try await PipelineHouse()
        let more = text.hasPrefix("stages") ? "" : "\nstages: [{ name: a, run: x }]"
        await expectRefusal(of: "kind: Pipeline\nname: x\n\(text)\(more)", in: it, ["there is nothing behind"])
    }
}
