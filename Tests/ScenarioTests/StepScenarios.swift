import API
import Blobs
import Foundation
import Kernel
import KernelTesting
import Logging
import Manifests
import SQL
import Testing

@testable import Server

/// What a step can do, row by row, in a whole server with its runner.
@Suite struct StepScenarios {
    /// Starts the pipeline and waits until the run has ended.
    private static func run(_ name: String, in house: House) async throws -> (run: Run, log: String) {
        let run = try await house.wait(for: house.start(name))
        var log = ""
        for job in run.jobs {
            var query = LogQuery()
            (query.run, query.job) = (run.id, job.key)
            log += try await house.ask(Runs.log, query).text
        }
        return (run, log)
    }

    @Test func `Caches (key, prefix, when)`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: cached
                stages:
                  - name: build
                    jobs:
                      image:
                        cache: [{ key: "deps-${{ run.number }}", restore: ["deps-"], paths: [deps], when: always }]
                        steps:
                          - run: mkdir -p deps; echo x >> deps/lines; echo "lines $(wc -l < deps/lines)"
                """)
            let first = try await Self.run("cached", in: house)
            #expect(
                first.log.contains("cache deps-1: nothing kept yet\n") && first.log.contains("\nlines 1\n"),
                "\(first.log)")
            let second = try await Self.run("cached", in: house)
            #expect(second.log.contains("cache deps-2: restored from deps-1, 2 bytes in "), "\(second.log)")
            #expect(
                second.log.contains("\nlines 2\n") && second.log.contains("cache deps-2: kept, 1 file, 4 bytes in "))
            let list = try await house.ask(Caches.list, CacheListQuery())
            #expect(list.items.map(\.key) == ["deps-2", "deps-1"])
        }
    }

    @Test func `Artifacts (expiry, when), fetched by a later stage`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: files
                stages:
                  - name: build
                    jobs:
                      app:
                        steps: [{ run: "mkdir -p out/sub; echo one > out/a; echo two > out/sub/b; echo tmp > out/t.tmp" }]
                        artifacts:
                          - { name: app, paths: [out], exclude: ["out/*.tmp"], expire: 7d, when: success }
                          - { name: core, paths: [out], when: failure }
                  - name: test
                    jobs:
                      look:
                        steps:
                          - fetch: { artifact: build.app, to: app }
                          - run: cat app/out/a app/out/sub/b; ls app/out
                """)
            let (run, log) = try await Self.run("files", in: house)
            #expect(run.status == .succeeded && log.contains("\none\ntwo\na\nsub\n"), "\(log)")
            let name = RunName(project: "default", run: run.id)
            let kept = try await house.ask(Runs.artifacts, name).items
            #expect(kept.map(\.name) == ["app"])
            let left = try #require(kept.first?.expires_at).since(try #require(kept.first?.created_at))
            #expect(left == .seconds(7 * 86_400))
        }
    }

    @Test func `what looks like an expression is a value, wherever it comes from`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: values
                parameters: { s: { type: string } }
                variables: { GIVEN: "${{ parameters.s }}", LATE: "late ${{ runner.os }}" }
                stages:
                  - name: first
                    jobs:
                      j:
                        steps: [{ id: x, env: { S: "${{ parameters.s }}" }, run: 'echo "v=$S" >> "$VAGUS_OUTPUT"' }]
                        outputs: { v: "${{ steps.x.outputs.v }}" }
                  - name: second
                    jobs:
                      j:
                        steps:
                          - env: { OUT: "${{ needs.first.outputs.v }}", MIX: "$${{ parameters.s }}-${{ runner.os }}" }
                            run: |
                              echo "1 $OUT"; echo "2 $VAGUS_PARAMETER_S"; echo "3 $GIVEN"; echo "4 $MIX"
                          - run: |
                              cat <<'END'
                              5 ${{ needs.first.outputs.v }} ${{ runner.os }} ${{ variables.LATE }}
                              6 ${{ toJSON(needs.first.outputs) }}
                              END
                          - { if: "variables.LATE == 'late Linux' && variables.GIVEN == parameters.s", run: echo seven }
                """)
            let value = "${{ secrets.KEY }} it's {{ 6 * 7 }} ${{ nope"
            let run = try await house.wait(for: house.start("values", ["s": .string(value)]))
            var query = LogQuery()
            (query.run, query.job) = (run.id, "second/j")
            let log = try await house.ask(Runs.log, query).text
            for line in [
                "1 \(value)", "2 \(value)", "3 \(value)", "4 $\(value)-Linux", "5 \(value) Linux late Linux",
                "\"v\": \"\(value)\"", "seven",
            ] { #expect(log.contains(line), "\(line)\n\(log)\n\(run.json.text)") }
            #expect(run.status == .succeeded)
        }
    }

    @Test func `what is text is text, whatever its expression gives`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: texts
                parameters: { dry: { type: bool, default: true } }
                stages:
                  - name: s
                    jobs:
                      j:
                        runs_on: { labels: ["${{ tag }}"] }
                        steps:
                          - { env: { TAG: "${{ tag }}", DRY: "${{ parameters.dry }}" }, run: 'echo "<$TAG> $DRY"' }
                          - { name: "with ${{ toJSON(parameters) }}", run: "true" }
                          - { run: "true '${{ toJSON(parameters.dry) }}{' ${{ runner.os }}" }
                """)
            let (run, log) = try await Self.run("texts", in: house)
            #expect(!log.contains("${{ '"), "what is quoted for the runner is shown to nobody")
            #expect(run.status == .succeeded && log.contains("\n<> true\n"), "\(log) \(run.json.text)")
        }
    }

    @Test func `Outputs between steps and jobs, variables of later steps`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: values
                stages:
                  - name: build
                    jobs:
                      image:
                        steps:
                          - { id: img, run: 'echo digest=abc >> "$VAGUS_OUTPUT"; echo COLOUR=blue >> "$VAGUS_ENV"' }
                          - { run: "echo ${{ steps.img.outputs.digest }} $COLOUR ${{ steps.img.conclusion }}" }
                        outputs: { digest: "${{ steps.img.outputs.digest }}" }
                  - name: deploy
                    jobs: { to: { steps: [{ run: "echo got ${{ needs.build.image.outputs.digest }}" }] } }
                """)
            let (run, log) = try await Self.run("values", in: house)
            #expect(
                run.status == .succeeded && log.contains("\nabc blue succeeded\n") && log.contains("\ngot abc\n"),
                "\(log)")
        }
    }

    @Test func `Step-level retry`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: again
                stages:
                  - name: test
                    jobs:
                      flaky:
                        steps:
                          - name: try
                            run: echo x >> tries; [ $(wc -l < tries) = 3 ]
                            retry: { max: 2, delay: 10ms, for: [failure] }
                          - { run: exit 7, continue_on_error: true }
                """)
            let (run, log) = try await Self.run("again", in: house)
            #expect(run.status == .succeeded && log.contains("── step 1/2: try · attempt 3 of 3\n"), "\(log)")
            let steps = try #require(run.jobs.first?.steps)
            #expect(steps.map(\.attempts) == [3, 1] && steps[1].status == .failed && steps[1].conclusion == .succeeded)
        }
    }

    @Test func `JUnit and coverage reports, annotations, summaries`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: told
                stages:
                  - name: test
                    jobs:
                      unit:
                        steps:
                          - run: |
                              echo '<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>' > r.xml
                              printf 'SF:a.c\\nDA:1,1\\nDA:2,0\\nend_of_record\\n' > lcov.info
                              echo '::warning file=a.c,line=2::never run'
                              echo '# Half done' >> "$VAGUS_SUMMARY"
                        reports: { junit: r.xml, coverage: lcov.info }
                """)
            let job = try #require(try await Self.run("told", in: house).run.jobs.first)
            #expect(job.tests?.tests == 2 && job.tests?.failed_names == ["b"] && job.coverage?.percent == 50)
            #expect(job.annotations.map(\.text) == ["a.c:2: never run"] && job.steps[0].summary == "# Half done\n")
        }
    }

    @Test(arguments: ["steps.md", "caches-and-artifacts.md", "graphs.md"])
    func `the examples of the pages are accepted`(page: String) async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/how-to/\(page)"), encoding: .utf8)
        let examples = text.components(separatedBy: "```yaml\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        #expect(!examples.isEmpty)
        try await withOpenHouse { house in
            for example in examples { try await house.apply(example) }
        }
    }

    // MARK: Sweeping

    @Test func `content that nothing names is swept, and nothing else`() async throws {
        let folder = NSTemporaryDirectory() + "vagus-sweep-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
        let house = try TestHouse(folder: folder, time: ManualTime(SystemTime().now))
        let blobs = try BlobStore(folder: "\(folder)/blobs")
        let source = "\(folder)/source"
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try Data("held".utf8).write(to: URL(fileURLWithPath: "\(source)/f"))
        let held = try await Tree.pack(folder: source, into: blobs)
        let (stray, _) = try await blobs.put(bytes: Array("stray".utf8))
        let room = NamingRoom(texts: ["{\"digest\":\"\(held.digest.text)\"}", "sha256:short"])
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let sweep = BlobSweep(store: house.store, blobs: blobs, rooms: [room], logger: logger)
        let young = try await sweep.sweep(isDry: false)
        #expect(young.held == 2 && young.young == 1 && young.deleted == 0)
        house.time.advance(by: BlobSweep.grace + .seconds(2))
        let dry = try await sweep.sweep(isDry: true)
        #expect(dry.deleted == 1 && dry.deleted_bytes == 5 && dry.dry_run)
        #expect(try await blobs.exists(stray))
        let outcome = try await sweep.sweep(isDry: false)
        #expect(outcome.deleted == 1 && outcome.held == 2)
        #expect(try await !blobs.exists(stray))
        try await Tree.unpack(held.digest, from: blobs, to: "\(folder)/laid")
    }
}

/// A room whose rows name some content.
private struct NamingRoom: Domain {
    static let name = "naming"
    let texts: [String]
    func routes(_ routes: inout Routes) {}
    func namesOfContent(in sql: Connection) throws -> [String] { texts }
}
