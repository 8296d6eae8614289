import API
import Foundation
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Runner

@Suite struct MaskTests {
    static let secret = "c4nary/In The Mine+42"

    /// Nothing that the server was told holds the secret in a form that is looked for here.
    private func expectNoCanary(_ server: FakeServer) {
        let told = server.state.withLock { state in
            state.finished.map(\.json.text) + state.ended.map(\.json.text) + [
                String(decoding: state.output, as: UTF8.self)
            ]
        }
        for text in told {
            #expect(!text.contains("c4nary") && !text.contains("YzRuYXJ5") && !text.contains("The%20Mine"), "\(text)")
        }
    }

    @Test func `a secret never leaves the runner, whatever way a step writes it`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            """
            printf 'plain %s\\n' "$S"; printf %s "$S" | base64; printf %s "$S" | python3 -c \
            'import sys,urllib.parse,json; s=sys.stdin.read(); print(urllib.parse.quote(s), json.dumps(s))'
            for i in $(seq 0 ${#S}); do printf '%s' "${S:$i:1}"; done; echo
            echo "safe=1" >> "$VAGUS_OUTPUT"; echo "leak=got $S" >> "$VAGUS_OUTPUT"
            printf '<testsuite><testcase name="%s"><failure>%s</failure></testcase></testsuite>' "$S" "$S" > r.xml
            """,
            "echo again ${{ steps.a.outputs.leak }}; [ -n '${{ steps.a.outputs.leak }}' ]",
        ]) { lease in
            lease.steps[0].id = "a"
            lease.steps[0].environment = ["S": Self.secret]
            lease.secrets = ["CANARY": Self.secret]
            lease.reports.junit = "r.xml"
        }
        try await server.work([lease])
        expectNoCanary(server)
        #expect(server.text.contains("plain ***\n***\n*** \"***\"\n***\n"), "\(server.text)")
        #expect(server.text.contains("! output leak holds a secret"))
        #expect(server.text.contains("again got ***\n"), "a later step of the job has it: \(server.text)")
        #expect(server.steps[0].outputs == ["safe": "1"])
        #expect(server.steps.map(\.status) == [.succeeded, .succeeded])
        #expect(server.ended.first?.tests?.failed_names == ["***"])
    }

    @Test func `a step may name a secret while it runs`() async throws {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            """
            echo before tok-123-xyz
            echo ::add-mask::tok-123-xyz
            echo after tok-123-xyz
            printf '::add-mask::first%%0Asecond'; sleep 0.1; printf '\\n'; echo second
            echo '::add-maskless::x'; printf '::add-m'
            """
        ])
        try await server.work([lease])
        #expect(
            server.text.hasSuffix(
                "before tok-123-xyz\n::add-mask::***\nafter ***\n::add-mask::***\n***\n::add-maskless::x\n::add-m"),
            "\(server.text)")
    }

    @Test func `what somebody else names a secret is masked from then on`() async throws {
        let mask = JobMask(secrets: [])
        let output = JobOutput(offset: 0, mask: mask)
        try await output.write(Array("one token-1 tok".utf8))
        mask.cover("token-1")
        try await output.write(Array("en-1 two token-1\n".utf8))
        output.close()
        #expect(output.tail?.text == "one token-1 token-1 two ***\n")
        #expect(!mask.hasGrown)
    }

    @Test func `what fixed words say is not masked, and names of members are`() throws {
        let mask = JobMask(secrets: ["failed", "build", "ends"])
        var report = JobReport()
        (report.run, report.stage, report.job, report.status) = ("run_1", "build", "failed", .failed)
        (report.reason, report.outputs) = ("build ends failed", ["build": "x"])
        let masked = try mask.mask(report)
        #expect(masked.stage == "build" && masked.job == "failed" && masked.status == .failed)
        #expect(masked.reason == "*** *** ***")
        #expect(masked.outputs == ["***": "x"])
    }

    @Test func `a workspace that is kept is kept without what steps were given and have told of secrets`() async throws
    {
        let server = try FakeServer()
        let lease = FakeServer.lease([
            "echo 'got \(Self.secret)'; echo \"leak=$S\" >> \"$VAGUS_OUTPUT\"; echo own > file; exit 1",
            "echo harmless",
        ]) { lease in
            lease.steps[0].environment = ["S": Self.secret]
            lease.steps[1].if = "always()"
            (lease.secrets, lease.workspace.keep) = (["CANARY": Self.secret], .always)
        }
        try await server.work([lease])
        let workspace = try #require(server.ended.first?.workspace)
        let folder = URL(fileURLWithPath: workspace).deletingLastPathComponent()
        var left: [String] = []
        for path in try FileManager.default.subpathsOfDirectory(atPath: folder.path) {
            guard let data = FileManager.default.contents(atPath: "\(folder.path)/\(path)") else { continue }
            #expect(!String(decoding: data, as: UTF8.self).contains("c4nary"), "\(path)")
            left.append(path)
        }
        #expect(
            left.contains("workspace/file") && left.contains("step-1/script.sh") && !left.contains("step-0/script.sh"))
    }

    @Test(arguments: 1...14) func `a command is found whatever the pieces it comes in`(size: Int) {
        var commands = MaskCommands()
        var (out, secrets) = ([UInt8](), [String]())
        let text = Array("a ::add-mask::no\n::add-mask::yes\r\n:\n::add-mas\n::add-mask::50%25\nend".utf8)
        for start in stride(from: 0, to: text.count, by: size) {
            commands.feed(
                Array(text[start..<min(start + size, text.count)]), bytes: { out += $0 }, secret: { secrets.append($0) }
            )
        }
        commands.flush(bytes: { out += $0 }, secret: { secrets.append($0) })
        #expect(secrets == ["yes", "50%"])
        #expect(String(decoding: out, as: UTF8.self) == "a ::add-mask::no\n:\n::add-mas\nend")
    }

    @Test func `a runner that forgot what it knew begins a secretive job anew`() async throws {
        let server = try FakeServer()
        var lease = FakeServer.lease([
            "echo ::add-mask::tok-123-xyz", "[ -e \"$HOME/again\" ] || { touch \"$HOME/again\"; sleep 60; }",
        ])
        try await server.work([lease]) { _ in FileManager.default.fileExists(atPath: "\(server.folder)/again") }
        (lease.first_step, lease.epoch) = (1, 2)
        lease.output_offset = Int64(server.text.utf8.count)
        try await server.work([lease]) { $0.ended.contains { $0.status == .succeeded } }
        #expect(server.text.contains("begins anew: the workspace that was kept is gone"))
    }
}
