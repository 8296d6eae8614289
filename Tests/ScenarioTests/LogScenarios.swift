import API
import Foundation
import Kernel
import KernelTesting
import Logging
import Manifests
import SQL
import Testing

@testable import Server

/// Logs, secrets in them, and tests that cannot be relied on, row by row, in a whole server with its runner.
@Suite struct LogScenarios {
    private static func log(_ run: Run, in house: House, _ edit: (inout LogQuery) -> Void = { _ in }) async throws
        -> LogChunk
    {
        var query = LogQuery()
        (query.run, query.job) = (run.id, run.jobs.first?.key ?? "s/j")
        edit(&query)
        return try await house.ask(Runs.log, query)
    }

    @Test func `Masking: a value named while the job runs is in no log, output or reason`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: masked
                stages:
                  - name: s
                    jobs:
                      j:
                        steps:
                          - name: say it
                            run: |
                              half=tok-; echo "::add-mask::${half}1234567"
                              echo "plain ${half}1234567"; printf %s "${half}1234567" | base64
                              echo "leak=${half}1234567" >> "$VAGUS_OUTPUT"
                              echo "::add-mask::exit code 3"; exit 3
                """)
            let run = try await house.wait(for: house.start("masked"))
            let text = try await Self.log(run, in: house).text
            #expect(text.contains("plain ***\n***\n"), "\(text)")
            #expect(!text.contains("1234567") && !run.json.text.contains("tok-1234567"))
            #expect(run.jobs[0].steps[0].outputs.isEmpty && run.jobs[0].reason == "ended with ***")
        }
    }

    @Test func `Log groups / scrollback: any line while the job runs, and the end within a moment`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: lines
                stages:
                  - name: s
                    jobs:
                      j:
                        steps:
                          - run: |
                              echo "::group::Many"; seq -f 'line %.0f' 1 200000; echo "::endgroup::"
                              head -c 300000 /dev/zero | tr '\\0' y; echo; echo all-there
                              while [ ! -e "$HOME/go-$VAGUS_RUN_ID" ]; do sleep 0.05; done
                              echo the-end
                """)
            let started = try await house.start("lines")
            let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(90)))
            var chunk = LogChunk()
            while chunk.text != "all-there\n" {
                try #require(time.now < end, "the output does not come: \(chunk.total_lines) lines")
                try await time.sleep(for: .milliseconds(20))
                chunk = try await Self.log(started, in: house) { $0.tail = 1 }
            }
            let middle = try await Self.log(started, in: house) { ($0.line, $0.lines) = (150_002, 1) }
            #expect(middle.text == "line 150000\n" && middle.first_line == 150_002 && !middle.ended)
            let long = try await Self.log(started, in: house) { ($0.line, $0.lines) = (200_004, 1) }
            #expect(long.text.utf8.count == 262_144 && long.text.hasSuffix("yy"), "a long line is told in pieces")
            let rest = try await Self.log(started, in: house) { ($0.offset, $0.lines) = (long.next_offset, 1) }
            #expect(rest.text.utf8.count == 37_857 && rest.text.hasSuffix("y\n") && rest.first_line == 200_004)
            let group = try await Self.log(started, in: house) { ($0.line, $0.lines) = (2, 1) }
            #expect(group.text == "::group::Many\n")
            var search = LogSearch()
            (search.run, search.job, search.pattern, search.regex) = (started.id, "s", "^line 19999[89]$", true)
            // A busy machine answers in parts: each says where to go on.
            var found: [Int] = []
            while true {
                let part = try await house.ask(Runs.searchLog, search)
                found += part.matches.map(\.line)
                guard let next = part.next_line else { break }
                search.line = next
            }
            #expect(found == [200_000, 200_001])
            let home = try #require(ProcessInfo.processInfo.environment["HOME"])
            let go = "\(home)/go-\(started.id)"
            defer { unlink(go) }
            async let last = Self.log(started, in: house) { ($0.offset, $0.wait) = (chunk.next_offset, true) }
            try Data().write(to: URL(fileURLWithPath: go))
            #expect(try await last.text == "the-end\n")
            _ = try await house.wait(for: started)
        }
    }

    @Test func `Flaky detect + quarantine with owner & expiry`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: flaky
                parameters: { broken: { default: "" } }
                stages:
                  - name: s
                    jobs:
                      j:
                        steps:
                          - run: |
                              tell() { printf '<testsuite name="Cart"><testcase name="adds">%s</testcase>%s</testsuite>' "$1" "$2" > r.xml; }
                              if [ -n "${VAGUS_RERUN_TESTS:-}" ]; then
                                echo "again: $VAGUS_RERUN_TESTS"; tell "" ""; exit 0
                              fi
                              tell "<failure message='expected 1'/>" "${{ parameters.broken }}"; exit 1
                        reports: { junit: r.xml, flaky: { rerun: 1, quarantine: auto, owner: "team:shop", expire: 1d } }
                """)
            let run = try await house.wait(for: house.start("flaky"))
            let text = try await Self.log(run, in: house).text
            #expect(run.status == .succeeded && text.contains("again: Cart.adds"), "\(text)")
            var query = TestQuery()
            (query.pipeline, query.flaky) = ("flaky", true)
            let tests = try await house.ask(Tests.list, query).items
            #expect(tests.map(\.id) == ["Cart.adds"] && tests.first?.flakes == 1)
            #expect(tests.first?.quarantine?.owner == "team:shop")
        }
    }
}
