import API
import Foundation
import Kernel
import Logging
import Manifests
import Testing

@testable import Server

/// Table 1.1 of delivery: the rows that the graph answers for, each in a whole server with its runner.
@Suite struct GraphScenarios {
    private static func run(_ yaml: String) async throws -> Run {
        let found = Found()
        try await withOpenHouse { house in
            try await house.apply("kind: Pipeline\nname: p\n" + yaml)
            await found.set(try await house.wait(for: try await house.start()))
        }
        return try #require(await found.run)
    }

    private actor Found {
        var run: Run?
        func set(_ run: Run) { self.run = run }
    }

    private static func reason(_ run: Run, _ key: String) -> String? { run.jobs.first { $0.key == key }?.reason }

    @Test func `Job DAG: a reason for every skip, stored and shown`() async throws {
        let run = try await Self.run(
            """
            stages:
              - { name: a, jobs: { j: { steps: [{ run: exit 3 }] } } }
              - { name: b, jobs: { j: { steps: [{ run: "true" }] } } }
              - { name: c, if: "parameters.x == 1", needs: [], jobs: { j: { steps: [{ run: "true" }] } } }
            """)
        #expect(run.status == .failed && run.reason == "stage \"a\" failed: ended with exit code 3")
        #expect(Self.reason(run, "b/j") == "stage \"a\" failed")
        #expect(Self.reason(run, "c/j") == "if: parameters.x == 1 was false")
        #expect(run.jobs[1].steps[0].reason?.isEmpty == false)
    }

    @Test func `Optional need, and failure evaluated over direct needs`() async throws {
        let run = try await Self.run(
            """
            stages:
              - { name: a, jobs: { j: { steps: [{ run: "false" }] } } }
              - { name: b, if: always(), jobs: { j: { steps: [{ run: "true" }] } } }
              - { name: c, needs: [b], jobs: { j: { steps: [{ run: "true" }] } } }
              - { name: d, needs: [b], if: failure(), jobs: { j: { steps: [{ run: "true" }] } } }
              - { name: e, needs: [{ stage: d, optional: true }], jobs: { j: { steps: [{ run: "true" }] } } }
            """)
        #expect(run.jobs.map(\.status) == [.failed, .succeeded, .succeeded, .skipped, .succeeded])
    }

    @Test func `Unknown need and cycle are errors`() async throws {
        try await withOpenHouse { house in
            for (needs, words) in [("[bb]", "no stage \"bb\""), ("[b]", "wait for each other")] {
                let refused = await #expect(throws: (any Error).self) {
                    try await house.apply(
                        """
                        kind: Pipeline
                        name: p
                        stages:
                          - { name: a, needs: \(needs), jobs: { j: { steps: [{ run: "true" }] } } }
                          - { name: b, needs: [a], jobs: { j: { steps: [{ run: "true" }] } } }
                        """)
                }
                #expect("\(refused.map { Problem(describing: $0).message } ?? "")".contains(words))
            }
        }
    }

    @Test func `Matrix include, exclude, dynamic; outputs between jobs, typed; need one matrix cell`() async throws {
        let run = try await Self.run(
            """
            stages:
              - name: plan
                jobs:
                  j:
                    steps: [{ id: s, run: "echo 'shards=[1,2]' >> $VAGUS_OUTPUT" }]
                    outputs: { shards: "${{ fromJSON(steps.s.outputs.shards) }}" }
              - name: test
                jobs:
                  unit:
                    matrix: { shard: "${{ needs.plan.outputs.shards }}", os: [a, b], exclude: [{ shard: 1, os: a }], include: [{ shard: 9 }] }
                    steps: [{ id: s, run: "echo n=${{ matrix.shard }}${{ matrix.os }} >> $VAGUS_OUTPUT" }]
                    outputs: { n: "${{ steps.s.outputs.n }}", more: "${{ matrix.shard + 1 }}" }
              - name: one
                needs: [{ stage: test, job: unit, matrix: { shard: 2, os: b } }]
                jobs: { j: { steps: [{ run: "test '${{ needs.test.unit.outputs.n }}' = 2b" }] } }
            """)
        #expect(run.status == .succeeded, "\(run.json.text)")
        #expect(
            run.jobs.filter { $0.stage == "test" }.map(\.title) == [
                "unit (1, b)", "unit (2, a)", "unit (2, b)", "unit (9)",
            ])
        #expect(run.jobs[1].outputs["more"] == 2)
    }

    @Test func `Job retry by cause, each attempt kept`() async throws {
        let run = try await Self.run(
            """
            stages:
              - name: a
                jobs:
                  j:
                    retry: { max: 2, exit_codes: [75] }
                    steps: [{ run: "test $VAGUS_ATTEMPT -ge 3 || exit 75" }]
            """)
        #expect(run.status == .succeeded)
        #expect(run.jobs[0].attempts.map(\.status) == [.failed, .failed, .succeeded])
        #expect(run.jobs[0].attempts[0].reason == "ended with exit code 75")
    }

    @Test func `Timeouts of step and job, inherited`() async throws {
        let run = try await Self.run(
            """
            stages:
              - { name: step, needs: [], jobs: { j: { steps: [{ run: sleep 60, timeout: 200ms }] } } }
              - { name: stage, needs: [], timeout: 1s, jobs: { j: { steps: [{ run: sleep 60 }] } } }
            """)
        #expect(run.status == .failed)
        #expect(Self.reason(run, "step/j") == "took longer than 200ms")
        #expect(Self.reason(run, "stage/j")?.contains("took longer than 1s") == true)
    }

    @Test func `Concurrency group, and a superseded run as an outcome of its own`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: p
                concurrency: { group: g, queue: latest }
                stages: [{ name: a, jobs: { j: { steps: [{ run: "test \\"${{ run.number }}\\" != 1 || sleep 60" }] } } }]
                """)
            let first = try await house.start()
            _ = try await house.wait(for: first) { $0.jobs[0].status == .running }
            let second = try await house.start()
            let waiting = try await house.wait(for: second) { $0.jobs[0].status == .waiting }
            #expect(Self.reason(waiting, "a/j") == "waits for its turn in \"g\": run #1 is at work")
            let third = try await house.start()
            let overtaken = try await house.wait(for: second)
            #expect(overtaken.status == .superseded && overtaken.reason == "superseded by run #3")
            #expect(overtaken.superseded_by == third.id)
            _ = try await house.ask(Runs.cancel, RunName(project: "default", run: first.id))
            #expect(try await house.wait(for: third).status == .succeeded)
            #expect(try await house.wait(for: first).status == .cancelled)
        }
    }

    @Test func `Reusable units with typed inputs, pinned`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: inner
                parameters: { n: { type: int } }
                stages:
                  - name: s
                    jobs: { j: { steps: [{ id: x, run: "echo v=$((${{ parameters.n }} * 2)) >> $VAGUS_OUTPUT" }], outputs: { v: "${{ steps.x.outputs.v }}" } } }
                outputs: { v: "${{ needs.s.outputs.v }}", n: "${{ parameters.n }}" }
                ---
                kind: Pipeline
                name: p
                stages:
                  - { name: sub, uses: { pipeline: inner, with: { n: 21 } } }
                  - { name: last, jobs: { j: { steps: [{ run: "test ${{ needs.sub.outputs.v }} = 42 -a ${{ needs.sub.outputs.n }} = 21" }] } } }
                """)
            let done = try await house.wait(for: try await house.start())
            #expect(done.status == .succeeded, "\(done.json.text)")
            #expect(done.uses.map(\.pipeline) == ["inner"])
        }
    }

    @Test func `Finally runs whatever happened and decides nothing`() async throws {
        let run = try await Self.run(
            """
            stages: [{ name: a, jobs: { j: { steps: [{ run: "false" }] } } }]
            finally: [{ name: z, jobs: { j: { steps: [{ run: "test ${{ needs.a.result }} = failed" }] } } }]
            """)
        #expect(run.status == .failed && run.jobs[1].status == .succeeded)
    }
}
