import API
import Expressions
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct PartsTests {
    @Test func `a push trigger wants its branch and one of its paths`() {
        var push = PushTrigger()
        push.paths = ["src/**"]
        #expect(push.heeds(branch: "main", default: "main", changed: ["README.md", "src/a.c"]))
        #expect(!push.heeds(branch: "main", default: "main", changed: ["README.md"]))
        #expect(!push.heeds(branch: "dev", default: "main", changed: ["src/a.c"]))
    }

    @Test func `the resolver replaces what it knows and leaves steps for the runner`() throws {
        let resolver = Resolver(context: Context(values: ["parameters": Value(["n": 3, "s": "}}"])]))
        #expect(try resolver.resolve("${{ parameters.n }}") == 3)
        #expect(
            try resolver.resolve("n=${{ parameters.n }}, ${{ steps.a.outputs.x }}") == "n=3, ${{ steps.a.outputs.x }}")
        #expect(try resolver.resolve("${{ '}}' }}${{ parameters.s }}") == "}}}}")
        #expect(try resolver.resolve("plain $ {{ }}") == "plain $ {{ }}")
        #expect(Resolver.bareCondition("${{ ref == 'x' }}") == "ref == 'x'")
        #expect(Resolver.bareCondition("${{ a }} && ${{ b }}") == "${{ a }} && ${{ b }}")
    }

    @Test func `parameters are typed, and slips are told`() throws {
        var spec = PipelineSpec()
        var week = ParameterSpec()
        (week.type, week.default) = (.int, 4)
        var name = ParameterSpec()
        name.type = .string
        spec.parameters = ["week": week, "name": name]
        #expect(try Parameters.read(["name": "x", "week": "7"], for: spec) == ["week": 7, "name": "x"])
        #expect(try Parameters.read(["name": 5], for: spec) == ["week": 4, "name": "5"])
        let missing = #expect(throws: Problem.self) { try Parameters.read([:], for: spec) }
        #expect(missing?.message == "the parameter \"name\" must be given")
        let slip = #expect(throws: Problem.self) { try Parameters.read(["nam": "x"], for: spec) }
        #expect(slip?.hint == "Did you mean \"name\"?")
        let type = #expect(throws: Problem.self) { try Parameters.read(["name": "x", "week": "soon"], for: spec) }
        #expect(type?.code == "parameter.type")
    }

    // MARK: Log

    private func withLogs(
        limit: Int64 = PipelineLimits.logBytes, _ body: (LogBook, JobKey) throws -> Void
    ) throws {
        let folder = NSTemporaryDirectory() + "vagus-logs-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
        try body(LogBook(folder: folder, limit: limit), JobKey(run: "r", stage: "s", job: "j"))
    }

    @Test func `output that is there already is left alone`() throws {
        try withLogs { (logs, key) throws in
            #expect(try logs.append(Array("hello ".utf8), at: 0, to: key, epoch: 1).offset == 6)
            #expect(try logs.append(Array("hello world".utf8), at: 0, to: key, epoch: 1).offset == 11)
            #expect(try logs.append(Array("o wo".utf8), at: 4, to: key, epoch: 1).offset == 11)
            #expect(try logs.append(Array("gap".utf8), at: 20, to: key, epoch: 1).offset == 11)
            #expect(try logs.text(key) == "hello world")
        }
    }

    @Test func `an old lease writes nothing once a new one is fenced`() throws {
        try withLogs { (logs, key) throws in
            _ = try logs.append(Array("one".utf8), at: 0, to: key, epoch: 1)
            #expect(try logs.fence(key, epoch: 2) == 3)
            #expect(try logs.append(Array("late".utf8), at: 3, to: key, epoch: 1).isFenced)
            #expect(try logs.append(Array("two".utf8), at: 3, to: key, epoch: 2) == .init(offset: 6))
            #expect(try logs.text(key) == "onetwo")
        }
    }

    @Test func `output beyond the limit is cut with a notice, and what is sent still counts`() throws {
        try withLogs(limit: 4 << 20) { (logs, key) throws in
            let piece = [UInt8](repeating: 0x61, count: 1 << 20)
            var offset: Int64 = 0
            for _ in 0..<6 { offset = try logs.append(piece, at: offset, to: key, epoch: 1).offset }
            #expect(offset == 6 << 20)
            let size = try logs.size(key)
            #expect(size == 4 << 20 + Int64(logs.notice.utf8.count))
            #expect(logs.notice.contains("larger than 4 MiB"))
        }
    }

    @Test(arguments: [("añb", 2, "a"), ("añb", 3, "añ"), ("a😀", 4, "a"), ("a😀", 5, "a😀"), ("abc", 3, "abc")])
    func `a chunk of a log ends at a whole character`(text: String, count: Int, expected: String) {
        #expect(String(decoding: LogBook.whole(Array(text.utf8.prefix(count))), as: UTF8.self) == expected)
    }

    // MARK: Rollouts

    static func status(
        _ revision: Int, stable: Int?, completion: ServiceStatus.Completion? = nil, newest: Int? = nil,
        aborted: Bool = false
    ) -> ServiceStatus {
        var status = ServiceStatus()
        (status.stable_revision, status.completion, status.aborted, status.message) = (
            stable, completion, aborted, "why"
        )
        for number in [stable, revision, newest].compactMap({ $0 }) {
            var entry = RevisionStatus()
            entry.revision = number
            status.revisions.append(entry)
        }
        return status
    }

    @Test func `a rollout is judged by what became of the revision`() {
        func judge(_ status: ServiceStatus) -> RolloutVerdict { RolloutVerdict.judge(status, revision: 2) }
        #expect(judge(Self.status(2, stable: 1)) == .going)
        #expect(judge(Self.status(2, stable: 2, completion: .promoted)) == .promoted)
        #expect(judge(Self.status(2, stable: 1, completion: .aborted, aborted: true)) == .failed("why"))
        #expect(judge(Self.status(2, stable: 1, completion: .rolled_back)) == .failed("why"))
        #expect(judge(Self.status(2, stable: 1, newest: 3)) == .failed("revision 2 was superseded by revision 3"))
        #expect(judge(Self.status(2, stable: nil)) == .going)
    }
}

extension LogBook {
    fileprivate func text(_ key: JobKey) throws -> String {
        String(decoding: try bytes(key, from: 0, limit: 1000), as: UTF8.self)
    }
}
