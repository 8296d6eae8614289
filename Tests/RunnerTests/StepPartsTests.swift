import API
import Blobs
import Foundation
import Kernel
import Manifests
import Testing

@testable import Runner

@Suite struct StepPartsTests {
    private static func told(_ pieces: [String]) -> (String, StepCommands) {
        var commands = StepCommands(step: 2)
        var out: [UInt8] = []
        for piece in pieces { out += commands.feed(Array(piece.utf8)) }
        out += commands.flush()
        return (String(decoding: out, as: UTF8.self), commands)
    }

    @Test func `commands become words for people and annotations`() {
        let text = """
            plain ::error::no command
            ::error file=src/a.c,line=3,col=7,title=Ty%3Apo%2C::bad %25 name%0Anext line
              ::warning::mind
            ::group::Build
            ::endgroup::
            ::debug::inner
            ::add-mask::secret
            ::unknown x::y
            ::notice
            """
        let (out, commands) = Self.told([text])
        #expect(
            out == """
                plain ::error::no command
                error: src/a.c:3:7: Ty:po,: bad % name
                next line
                warning: mind
                ::group::Build
                ::endgroup::
                debug: inner
                ::add-mask::secret
                ::unknown x::y
                ::notice
                """)
        #expect(commands.annotations.map(\.level) == [.error, .warning])
        let first = commands.annotations[0]
        #expect(first.file == "src/a.c" && first.line == 3 && first.column == 7 && first.step == 2)
        #expect(first.title == "Ty:po," && first.message == "bad % name\nnext line")
    }

    @Test func `commands are found whatever the pieces in which they come`() {
        let text = "a\n::error::x\n::\n:::\nb::c\n::warning::y"
        let whole = Self.told([text])
        #expect(whole.0 == "a\nerror: x\n::\n:::\nb::c\nwarning: y")
        for cut in 1..<text.utf8.count {
            let bytes = Array(text.utf8)
            let parts = [bytes[..<cut], bytes[cut...]].map { String(decoding: $0, as: UTF8.self) }
            #expect(Self.told(parts).0 == whole.0, "cut at \(cut)")
        }
        #expect(Self.told(text.map(String.init)).0 == whole.0)
    }

    @Test func `between stop-commands and its token nothing is a command`() {
        let (out, commands) = Self.told(["::stop-commands::tok\n::error::x\n::tok::\n::notice::y\n"])
        #expect(out == "::error::x\nnotice: y\n")
        #expect(commands.annotations.map(\.level) == [.notice])
    }

    @Test func `a step has a bound of annotations and of a command's length`() {
        let many = String(repeating: "::notice::n\n", count: Annotation.limit + 7)
        #expect(Self.told([many]).1.annotations.count == Annotation.limit)
        #expect(Self.told([many]).1.dropped == 7)
        let long = "::error::" + String(repeating: "x", count: StepCommands.lineBytes) + "\n::notice::n\n"
        let (out, commands) = Self.told([long])
        #expect(out.hasSuffix("x\nnotice: n\n") && commands.annotations.count == 1)
    }

    @Test(arguments: ["VAGUS_X=1", "LD_PRELOAD=/x.so", "PATH=/x", "BASH_ENV=/x", "GIT_CONFIG_COUNT=1"])
    func `variables that would take over later programs are refused`(line: String) {
        var later = LaterSteps()
        #expect(throws: Problem.self) { try later.add(env: line, path: "") }
    }

    @Test func `later steps find folders in the order in which they were set, the newest first`() throws {
        var later = LaterSteps()
        try later.add(env: "A=1\nB<<E\nx\ny\nE\n", path: "/one\n/two\n")
        try later.add(env: "A=2", path: "/one\n")
        #expect(later.variables == ["A": "2", "B": "x\ny"] && later.path == ["/one", "/two"])
        #expect(throws: Problem.self) { try later.add(env: "a-b=1", path: "") }
        #expect(throws: Problem.self) { try later.add(env: "1a=1", path: "") }
        #expect(throws: Problem.self) { try later.add(env: "", path: "/a:/b") }
    }

    @Test func `credentials are in git's environment, for their own server only, and nowhere in the address`() {
        let remote = CheckoutRemote("https://bob:pa%20ss@git.test:8443/a/b.git", token: nil)
        #expect(remote.url == "https://git.test:8443/a/b.git")
        let variables = remote.environment(["PATH": "/bin", "GIT_DIR": "/x"])
        let index = variables.first { $0.value == "http.https://git.test:8443/.extraHeader" }?.key.suffix(1)
        let header = index.flatMap { variables["GIT_CONFIG_VALUE_\($0)"] }
        #expect(header == "Authorization: Basic \(Data("bob:pa ss".utf8).base64EncodedString())")
        #expect(variables["GIT_DIR"] == nil && variables["GIT_CONFIG_COUNT"] == "8")
        let own = CheckoutRemote("http://127.0.0.1:1/git/x.git", token: "tok").environment([:])
        #expect(own.values.contains("Authorization: Basic \(Data("vagus:tok".utf8).base64EncodedString())"))
        let local = CheckoutRemote("/srv/x.git", token: "tok")
        #expect(!local.environment([:]).values.contains { $0.contains("Authorization") } && local.url == "/srv/x.git")
    }

    @Test func `coverage is counted by lines, whatever the format`() throws {
        let cobertura = """
            <?xml version="1.0"?><!DOCTYPE coverage SYSTEM "http://x/coverage-04.dtd">
            <coverage line-rate="0.1"><packages><package name="p"><classes>
            <class name="A" filename="a.py"><lines><line number="1" hits="3"/><line number="2" hits="0"/></lines></class>
            <class name="A2" filename="a.py"><lines><line number="2" hits="1"/><line number="3" hits="0"/></lines></class>
            </classes></package></packages></coverage>
            """
        let jacoco = """
            <report name="r"><package name="p/q"><class name="p/q/B" sourcefilename="B.java"><counter type="LINE" missed="9" covered="9"/></class>
            <sourcefile name="B.java"><line nr="1" mi="0" ci="2"/><line nr="2" mi="3" ci="0"/><counter type="LINE" missed="1" covered="1"/></sourcefile>
            <sourcefile name="C.java"><counter type="LINE" missed="4" covered="2"/></sourcefile></package></report>
            """
        let lcov = "TN:\nSF:/w/c.c\nDA:1,1\nDA:2,0\nDA:3,1e+06\nend_of_record\nDA:9,9\n"
        var lines = CoverageReader.Lines()
        for text in [cobertura, jacoco, lcov] { try lines.add(Array(text.utf8)) }
        let coverage = lines.coverage
        #expect(coverage.lines == 3 + 2 + 6 + 3 && coverage.covered == 2 + 1 + 2 + 2)
        #expect(coverage.files.map(\.path) == ["p/q/C.java", "/w/c.c", "a.py", "p/q/B.java"])
        var other = CoverageReader.Lines()
        let torn = cobertura.dropLast("</packages></coverage>".count)
        #expect(throws: Problem.self) { try other.add(Array(torn.utf8)) }
        #expect(other.coverage.lines == 0, "nothing counts of a report that breaks off")
        #expect(throws: Problem.self) { try other.add(Array("<html/>".utf8)) }
        #expect(throws: Problem.self) { try other.add(Array("nothing of it".utf8)) }
    }

    @Test func `what is laid into a workspace follows no link out of it`() throws {
        let root = NSTemporaryDirectory() + "vagus-merge-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }  // a leftover folder harms no other test
        for folder in ["out", "work/sub", "new/linked", "new/sub"] { try JobFolder.make("\(root)/\(folder)") }
        for file in ["out/kept", "new/sub/a", "new/file", "work/sub/old"] {
            try Data(file.utf8).write(to: URL(fileURLWithPath: "\(root)/\(file)"))
        }
        symlink("\(root)/out/kept", "\(root)/work/file")
        try Disk.merge("\(root)/new", into: "\(root)/work")
        #expect(try String(contentsOfFile: "\(root)/out/kept", encoding: .utf8) == "out/kept")
        #expect(try String(contentsOfFile: "\(root)/work/file", encoding: .utf8) == "new/file")
        #expect(FileManager.default.fileExists(atPath: "\(root)/work/sub/old"))
        #expect(FileManager.default.fileExists(atPath: "\(root)/work/sub/a"))
        symlink("\(root)/out", "\(root)/work/door")
        try JobFolder.make("\(root)/again/door/deep")
        #expect(throws: Problem.self) { try Disk.merge("\(root)/again", into: "\(root)/work") }
        #expect(throws: Problem.self) { try Disk.folder("door/x", in: "\(root)/work") }
        #expect(throws: Problem.self) { try Disk.folder("../x", in: "\(root)/work") }
        #expect(try Disk.folder("./a/b", in: "\(root)/work") == "\(root)/work/a/b")
    }

    @Test func `a nearly full disk ends the job that takes most of it, and no other`() throws {
        let root = NSTemporaryDirectory() + "vagus-disk-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }  // a leftover folder harms no other test
        let (small, large, watch) = (StopSignal(), StopSignal(), DiskWatch())
        for (name, size) in [("small", 10), ("large", 200_000)] {
            try JobFolder.make("\(root)/\(name)")
            try Data(count: size).write(to: URL(fileURLWithPath: "\(root)/\(name)/f"))
        }
        watch.add("\(root)/small", small)
        watch.add("\(root)/large", large)
        watch.look(free: RunnerLimits.freeBytes)
        #expect(large.asked == nil)
        watch.look(free: 1 << 20)
        #expect(small.asked == nil && large.asked?.isCancelled == false)
        #expect(large.asked?.reason.hasPrefix("the runner's disk is nearly full (1 MiB left)") == true)
    }

    @Test func `the hash of files depends on their names and content alone`() throws {
        let root = NSTemporaryDirectory() + "vagus-hash-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }  // a leftover folder harms no other test
        for (name, text) in [("a/x.lock", "1"), ("a/y.lock", "2"), ("b/x.lock", "1"), ("b/y.lock", "3")] {
            try JobFolder.make((("\(root)/\(name)") as NSString).deletingLastPathComponent)
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(root)/\(name)"))
        }
        let all = try FileHash.hash(of: ["*.lock"], in: "\(root)/a")
        let (same, other) = (
            try FileHash.hash(of: ["*"], in: "\(root)/a"), try FileHash.hash(of: ["*.lock"], in: "\(root)/b")
        )
        #expect(all.count == 64 && all == same && all != other)
        let first = try FileHash.hash(of: ["*.lock", "!y*"], in: "\(root)/a")
        let second = try FileHash.hash(of: ["x.lock"], in: "\(root)/b")
        #expect(first == second)
        #expect(try FileHash.hash(of: ["absent"], in: root) == "")
    }
}
