import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct RunTests {
    static let pipeline = """
        kind: Pipeline
        name: shop
        parameters: { level: { type: int, default: 2 } }
        variables: { COLOUR: "${{ parameters.level }}-blue" }
        stages:
          - name: build
            jobs:
              image:
                steps:
                  - { id: img, run: "make LEVEL=${{ parameters.level }}" }
                  - run: make check
                outputs: { digest: "${{ steps.img.outputs.digest }}" }
          - name: test
            jobs:
              unit: { steps: [{ run: "test ${{ needs.build.outputs.digest }} ${{ needs.build.image.outputs.digest }}" }] }
              lint: { steps: [{ run: lint }], allow_failure: true }
        """

    @Test func `a run goes through its stages, each value in its place`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("shop", ["level": "5"])
        #expect(run.number == 1 && run.status == .queued && run.jobs.count == 3)
        let build = try await it.lease()
        #expect(build.steps[0].settings == "make LEVEL=5")
        #expect(build.steps[0].environment["COLOUR"] == "5-blue")
        #expect(build.steps[0].environment["VAGUS_PARAMETER_LEVEL"] == "5")
        try await it.finish(build, step: 0, outputs: ["digest": "abc"])
        try await it.finish(build, step: 1)
        try await it.end(build)
        let unit = try await it.lease()
        #expect(unit.steps[0].settings == "test abc abc")
        try await it.finish(unit)
        try await it.end(unit)
        try await it.work(.failed)
        let done = try await it.run("shop:latest")
        #expect(done.id == run.id && done.status == .succeeded)
        #expect(done.jobs[0].outputs == ["digest": "abc"])
        #expect(done.jobs.map(\.status) == [.succeeded, .succeeded, .failed])
        let events = try await it.house.events()
        #expect(
            events.filter { $0.name.hasPrefix("run.") }.map(\.name) == ["run.queued", "run.started", "run.finished"])
        #expect(events.filter { $0.correlation == run.id }.count == events.count - 2)
        #expect(try await it.run("shop:1").id == run.id)
    }

    @Test func `a failed stage skips those behind it with the reason`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("shop")
        let lease = try await it.lease()
        try await it.finish(lease, step: 0, .failed)
        try await it.end(lease, .failed, cause: .failure, reason: "step \"make\" ended with exit code 1")
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.reason == "stage \"build\" failed: step \"make\" ended with exit code 1")
        #expect(done.jobs[1].status == .skipped && done.jobs[1].reason == "stage \"build\" failed")
        #expect(done.jobs[0].steps.map(\.status) == [.failed, .skipped])
    }

    @Test func `a cancelled run tells its runner to stop`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        let run = try await it.start("shop")
        let lease = try await it.lease()
        _ = try await it.house.call(Runs.cancel, RunName(project: "default", run: run.id))
        try await it.settle()
        let state = try await it.house.call(Runners.renew, lease.key)
        #expect(state.stop && state.reason == "cancelled by system:test")
        try await it.end(lease, .cancelled)
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .cancelled)
        #expect(done.jobs.allSatisfy { $0.status == .cancelled })
    }

    @Test func `a runner without the labels does not get the job`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            "{ kind: Pipeline, name: p, stages: [{ name: s, jobs: { j: { runs_on: { labels: [gpu] }, steps: [{ run: x }] } } }] }"
        )
        try await it.hello()
        try await it.hello("two", labels: ["gpu", "linux"])
        _ = try await it.start("p")
        try await it.settle()
        #expect(try await it.lease("two").job == "j")
    }

    @Test func `the log is read by offset and ends with the job`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            "{ kind: Pipeline, name: p, stages: [{ name: s, jobs: { j: { steps: [{ run: x }] } } }] }")
        try await it.hello()
        let run = try await it.start("p")
        let lease = try await it.lease()
        #expect(try await it.append("grün\n", at: 0, lease).output_offset == 6)
        let chunk = try await it.log(run, "s")
        #expect(chunk.text == "grün\n" && chunk.next_offset == 6 && !chunk.ended)
        try await it.finish(lease)
        try await it.end(lease)
        #expect(try await it.log(run, "s/j", offset: 6).ended)
    }

    @Test func `an expression that names nothing fails the job with its words`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            "{ kind: Pipeline, name: p, stages: [{ name: s, jobs: { j: { steps: [{ run: \"echo ${{ fromJSON('{') }}\" }] } } }] }"
        )
        let run = try await it.start("p")
        try await it.settle()
        let done = try await it.run(run.id)
        #expect(done.status == .failed)
        #expect(done.jobs[0].reason?.isEmpty == false)
    }

    @Test(
        arguments: [
            ("steps: [{ run: x }, { watch: { monitor: m } }]", "cannot share a job"),
            ("steps: [{ run: \"${{ nope(\" }]", "the expression cannot be read"),
            ("steps: []", "at least one step"),
            ("steps: [{ run: x }], artifacts: [{ name: ../x, paths: [a] }]", "cannot be the name of an artifact"),
            ("steps: [{ run: x }] }, ../../j: { steps: [{ run: x }]", "is not a name"),
        ])
    func `a pipeline that nobody could carry out is refused`(steps: String, words: String) async throws {
        let it = try await PipelineHouse()
        let error = await #expect(throws: (any Error).self) {
            try await it.house.apply("{ kind: Pipeline, name: p, stages: [{ name: s, jobs: { j: { \(steps) } } }] }")
        }
        #expect("\(error.map { Problem(describing: $0).message } ?? "")".contains(words))
    }
}
