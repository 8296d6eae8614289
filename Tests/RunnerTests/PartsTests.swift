import API
import Foundation
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Runner

@Suite struct PartsTests {
    @Test func `outputs are lines of key and value, or blocks`() throws {
        let text = "a=1\n\nlong<<END\nx\ny=z\nEND\nb=c=d\r\n"
        #expect(try KeyValues.parse(text) == ["a": "1", "long": "x\ny=z", "b": "c=d"])
        #expect(throws: Problem.self) { try KeyValues.parse("no sign here") }
        #expect(throws: Problem.self) { try KeyValues.parse("bad key=1") }
        #expect(throws: Problem.self) { try KeyValues.parse("open<<END\nx") }
    }

    @Test func `a job that ends does not take the folder from under one that begins`() async throws {
        let folder = NSTemporaryDirectory() + "vagus-folders-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
        let place = try RunnerPlace(folder)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for number in 0..<500 {
                        var lease = Lease()
                        (lease.run, lease.stage, lease.job) = ("run_1", "all", "j\(worker)-\(number)")
                        let job = JobFolder(place, lease)
                        try job.begin()
                        job.remove()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.workspaces).isEmpty)
    }

    @Test func `a folder that a job left clean serves the next one, any other does not`() throws {
        let folder = NSTemporaryDirectory() + "vagus-folders-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
        let place = try RunnerPlace(folder)
        func job(_ name: String, leaving work: (JobFolder) throws -> Void = { _ in }) throws -> UInt64 {
            var lease = Lease()
            (lease.run, lease.stage, lease.job) = ("run_1", "all", name)
            let job = JobFolder(place, lease)
            try job.begin()
            #expect(try FileManager.default.contentsOfDirectory(atPath: job.workspace).isEmpty)
            #expect(try FileManager.default.contentsOfDirectory(atPath: job.temporary).isEmpty)
            let script = try job.makeStep(0) + "/script.sh"
            let text = Array(repeating: UInt8(ascii: "x"), count: name == "a" ? 9 : 5)
            try JobFolder.put(text, at: script, keeping: false)
            #expect(FileManager.default.contents(atPath: script) == Data(text))
            #expect(try FileManager.default.contentsOfDirectory(atPath: job.folder).count == 3)
            var status = stat()
            stat(job.folder, &status)
            try work(job)
            job.remove()
            #expect(!FileManager.default.fileExists(atPath: job.folder))
            return UInt64(status.st_ino)
        }
        let first = try job("a")
        #expect(try job("b") == first)
        let written = try job("c") { try Data([1]).write(to: URL(fileURLWithPath: "\($0.workspace)/.hidden")) }
        #expect(written == first)
        // Nothing of a script is left for the next job, nor taken for its own.
        _ = try job("s")
        let spare = try #require(FileManager.default.contentsOfDirectory(atPath: place.spares.folder).first)
        let left = FileManager.default.contents(atPath: "\(place.spares.folder)/\(spare)/step-0/script.sh")
        #expect(left == Data("x".utf8))
        var lease = Lease()
        (lease.run, lease.stage, lease.job) = ("run_1", "all", "survives")
        let surviving = JobFolder(place, lease)
        try surviving.begin(isFresh: true)
        let script = try surviving.makeStep(0, keeping: true) + "/script.sh"
        try JobFolder.put(Array("new".utf8), at: script, keeping: true)
        try JobFolder.put(Array("not".utf8), at: script, keeping: true)
        #expect(FileManager.default.contents(atPath: script) == Data("new".utf8))
        // A file that is not ours alone is not written to; where files take their folder's group, ours are made all the same.
        link(script, "\(folder)/other.sh")
        #expect(throws: Problem.self) { try JobFolder.put(Array("bad".utf8), at: script, keeping: false) }
        #expect(FileManager.default.contents(atPath: "\(folder)/other.sh") == Data("new".utf8))
        let shared = "\(folder)/shared"
        try JobFolder.make(shared)
        if geteuid() == 0 {
            #expect(chown(shared, 0, 1) == 0 && chmod(shared, 0o2750) == 0)
            try JobFolder.put(Array("made".utf8), at: "\(shared)/script.sh", keeping: false)
            #expect(FileManager.default.contents(atPath: "\(shared)/script.sh") == Data("made".utf8))
        }
        surviving.remove()
        _ = try job("d") { chmod($0.temporary, 0o777) }
        _ = try job("e") { try JobFolder.make("\($0.folder)/more") }
        _ = try job("f") { link("\($0.step(0))/script.sh", "\(folder)/kept.sh") }
        _ = try job("g") { symlink("/dev/null", "\($0.step(0))/output.txt") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.spares.folder).isEmpty)
    }

    @Test func `one verdict a test case, the worst of what it says`() throws {
        let xml = """
            <?xml version="1.0"?><!-- <testcase/> --><testsuites><testsuite tests="99" failures="99">
            <testcase classname='a' name="ok &amp; &lt;well&gt;"/>
            <testcase name="both"><skipped/><failure message="x > y"/><error>boom</error></testcase>
            <testcase name="skip"><skipped/></testcase>
            <testcase name="bad"><failure><![CDATA[</testcase><testcase>]]></failure></testcase>
            </testsuite></testsuites>
            """
        let found = try JUnitReader.parse(Array(xml.utf8))
        let sum = found.summary
        #expect(sum.tests == 4 && sum.failures == 1 && sum.errors == 1 && sum.skipped == 1)
        #expect(sum.failed_names == ["both", "bad"])
        #expect(found.cases.map(\.verdict) == [.passed, .broken, .skipped, .failed])
        #expect(found.cases.map(\.message) == [nil, "boom", nil, "</testcase><testcase>"])
        let claimed = try JUnitReader.parse(Array("<testsuite tests=\"3\" failures=\"1\" skipped=\"1\"/>".utf8)).summary
        #expect(claimed.tests == 3 && claimed.failures == 1 && claimed.skipped == 1)
    }

    @Test(arguments: ["", "plain", "<a", "<a b=", "<!DOCTYPE x [<!ENTITY e \"x\">]><a/>", "<!-- open", "< >"])
    func `what is no XML is an error, not a crash`(text: String) {
        #expect(throws: Problem.self) { try JUnitReader.parse(Array(text.utf8)) }
    }

    @Test(arguments: [
        ("<testsuite><testcase name=\"x\">", 2), ("<testsuites><testsuite><testcase name=\"x\"/></testsuite>\n", 1),
        ("<testsuite><testcase name=\"x\"><failure>a", 3),
    ])
    func `a report that breaks off is told as one`(text: String, open: Int) {
        let problem = #expect(throws: Problem.self) { try JUnitReader.parse(Array(text.utf8)) }
        #expect(problem?.message.hasPrefix("it breaks off: \(open) element") == true, "\(problem?.message ?? "")")
    }

    @Test func `globs find files, leave links and .git alone, and never leave the workspace`() throws {
        let root = NSTemporaryDirectory() + "vagus-globs-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }  // a leftover folder harms no other test
        for name in ["a.txt", "out/b.txt", "out/deep/c.txt", ".git/config", "other/d.log"] {
            try JobFolder.make((("\(root)/\(name)") as NSString).deletingLastPathComponent)
            try Data().write(to: URL(fileURLWithPath: "\(root)/\(name)"))
        }
        symlink("/etc/passwd", "\(root)/out/link.txt")
        #expect(try GlobWalk.files(matching: ["**/*.txt"], in: root) == ["a.txt", "out/b.txt", "out/deep/c.txt"])
        #expect(try GlobWalk.files(matching: ["out"], in: root) == ["out/b.txt", "out/deep/c.txt"])
        #expect(try GlobWalk.files(matching: ["./out/*.txt", "other/*"], in: root) == ["other/d.log", "out/b.txt"])
        #expect(try GlobWalk.files(matching: ["**"], in: root).contains(".git/config") == false)
        #expect(throws: Problem.self) { try GlobWalk.files(matching: ["../x"], in: root) }
    }

    @Test func `a line that never ends is cut once`() {
        var limiter = LineLimiter()
        var out: [UInt8] = []
        for _ in 0..<200 { limiter.feed([UInt8](repeating: 0x61, count: 10_000), into: &out) }
        limiter.feed(Array("\nnext\n".utf8), into: &out)
        #expect(out.count < RunnerLimits.lineBytes + 100)
        #expect(String(decoding: out, as: UTF8.self).hasSuffix("(the rest of this line is cut)\nnext\n"))
    }

    @Test func `output that nobody takes holds its writer back`() async throws {
        let output = JobOutput(offset: 0, mask: JobMask(secrets: []))
        let written = Tally()
        let line = [UInt8](repeating: 0x61, count: 9999) + [0x0A]
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for _ in 0..<2000 {
                    try await output.write(line)
                    written.add(line.count)
                }
                output.close()
            }
            var last = -1
            // It stands still once the buffer is full.
            while written.value < RunnerLimits.waitingOutput - line.count || last != written.value {
                last = written.value
                for _ in 0..<1000 { await Task.yield() }
            }
            #expect(last <= RunnerLimits.waitingOutput + line.count)
            let heard = Mutex(0)
            try await output.pump(by: SystemTime()) { offset, bytes in
                #expect(offset == Int64(heard.withLock { $0 }))
                heard.withLock { $0 += bytes.count }
                return offset + Int64(bytes.count)
            }
            #expect(heard.withLock { $0 } == 2000 * line.count)
            try await group.waitForAll()
        }
    }

    @Test func `a server that stands elsewhere is believed`() async throws {
        let output = JobOutput(offset: 10, mask: JobMask(secrets: []))
        let rest = RunnerLimits.tailBytes
        try await output.write(Array(String(repeating: "a", count: rest + 5).utf8))
        output.close()
        let sent = Mutex<[Int64]>([])
        try await output.pump(by: SystemTime()) { offset, bytes in
            sent.withLock { $0.append(offset) }
            // It had the first three bytes already, from before an answer was lost.
            return sent.withLock { $0.count } == 1 ? 13 : offset + Int64(bytes.count)
        }
        #expect(sent.withLock { $0 } == [10, 13])
        #expect(output.tail == nil)
    }

    @Test func `a short rest of the output is left for the end of the job`() async throws {
        let output = JobOutput(offset: 10, mask: JobMask(secrets: []))
        try await output.write(Array("abc\n".utf8))
        output.close()
        try await output.pump(by: SystemTime()) { _, _ in
            Issue.record("it was sent")
            return nil
        }
        #expect(output.tail?.offset == 10)
        #expect(output.tail?.text == "abc\n")
    }

    @Test func `bytes that are no text are sent, however few`() async throws {
        let output = JobOutput(offset: 0, mask: JobMask(secrets: []))
        try await output.write([0xFF, 0x0A])
        output.close()
        let sent = Mutex<[UInt8]>([])
        try await output.pump(by: SystemTime()) { offset, bytes in
            sent.withLock { $0 += bytes }
            return offset + Int64(bytes.count)
        }
        #expect(sent.withLock { $0 } == [0xFF, 0x0A])
        #expect(output.tail == nil)
    }
}

/// A sum that several tasks may touch.
final class Tally: Sendable {
    private let sum = Mutex(0)
    var value: Int { sum.withLock { $0 } }
    func add(_ count: Int) { sum.withLock { $0 += count } }
}
