import API
import Client
import Foundation
import Logging
import Manifests
import Synchronization
import Testing

@testable import Server

/// Table 1.1, "Local run = server run" and "Debug a failed job": the house as `vagus run --local` opens it.
@Suite struct LocalScenarios {
    private static func house() async throws -> House {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let folder = NSTemporaryDirectory() + "vagus-local-scenario-\(UUID().uuidString)"
        var options = ServerOptions(data: folder, executable: "/bin/false") { _ in }
        (options.port, options.hasAuth, options.proxy) = (0, false, ("127.0.0.1", 0))
        return try await House(options, logger: logger)
    }

    /// Applies, starts, and looks until the run has ended.
    private static func run(_ pipeline: String, _ client: VagusClient) async throws -> Run {
        var apply = ApplyInput()
        apply.documents = try YAML.documents(pipeline).map(\.value)
        _ = try await client.call(Resources.apply, apply)
        var input = RunInput()
        input.pipeline = "shop"
        var run = try await client.call(Runs.start, input)
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(60))
        while !run.status.hasEnded, clock.now < end {
            try await clock.sleep(for: .milliseconds(50))
            run = try await client.call(Runs.get, RunName(project: "default", run: run.id))
        }
        return run
    }

    @Test func `a run without a server is the run of a server, and the house closes when its guest leaves`()
        async throws
    {
        let house = try await Self.house()
        let found = Mutex<Run?>(nil)
        let clock = ContinuousClock()
        let left = Mutex(clock.now)
        try await house.run { client in
            let run = try await Self.run(
                """
                kind: Pipeline
                name: shop
                parameters: { word: { default: hello } }
                stages:
                  - name: build
                    jobs:
                      app:
                        steps: [{ id: a, run: 'echo "word=${{ inputs.word }}" >> $VAGUS_OUTPUT' }]
                        outputs: { word: "${{ steps.a.outputs.word }}" }
                  - name: test
                    if: needs.build.result == 'succeeded' && run.trigger == 'manual'
                    jobs:
                      unit: { steps: [{ run: 'test "${{ needs.build.outputs.word }}" = hello' }] }
                """, client)
            found.withLock { $0 = run }
            left.withLock { $0 = clock.now }
        }
        // A runner's long poll would keep it open for 20 s.
        #expect(clock.now - left.withLock { $0 } < .seconds(15))
        let run = try #require(found.withLock { $0 })
        #expect(run.status == .succeeded, "\(run.reason ?? "")")
        #expect(run.jobs.map(\.status) == [.succeeded, .succeeded])
    }

    @Test func `the workspace of a failed job is kept, with what its steps saw`() async throws {
        let house = try await Self.house()
        let found = Mutex<(Run, String?, String?)?>(nil)
        try await house.run { client in
            let run = try await Self.run(
                """
                kind: Pipeline
                name: shop
                stages:
                  - name: test
                    jobs:
                      unit:
                        variables: { COLOUR: blue }
                        steps: [{ run: "echo made > made.txt" }, { run: "exit 3" }]
                """, client)
            // What is in there is looked at while the house stands.
            let place = run.jobs[0].workspace ?? ""
            let made = try? String(contentsOfFile: "\(place)/made.txt", encoding: .utf8)  // absent: the test says so
            let saw = try? String(contentsOfFile: "\(place)/../step-1/environment.json", encoding: .utf8)  // the same
            found.withLock { $0 = (run, made, saw) }
        }
        let (run, made, saw) = try #require(found.withLock { $0 })
        #expect(run.status == .failed && run.jobs[0].steps[1].exit_code == 3)
        #expect(made == "made\n")
        #expect(saw?.contains(#""COLOUR":"blue""#) == true)
    }
}
