import API
import Blobs
import Foundation
import Kernel
import Logging
import Manifests
import Synchronization
import Testing

@testable import Runner

/// A server as a runner sees it: hands out leases, hears reports, and is away when a test says so.
final class FakeServer: ServerDoor {
    struct State {
        var waiting: [Lease] = []
        var hellos: [String] = []
        var output: [UInt8] = []
        var started: [Int] = []
        var finished: [StepReport] = []
        var ended: [JobReport] = []
        var stop: String?
        /// Calls that get no answer from now on.
        var absences = 0
        var calls = 0
        var uploads = 0
        var cases: [TestCase] = []
        /// Caches by key, oldest first.
        var caches: [CacheEntry] = []
        var isDraining = false
    }
    let state = Mutex(State())
    let news = Bell()
    let folder: String
    let blobs: BlobStore

    init() throws {
        folder = NSTemporaryDirectory() + "vagus-runner-\(UUID().uuidString)"
        blobs = try BlobStore(folder: "\(folder)/server-blobs")
    }

    deinit {
        try? FileManager.default.removeItem(atPath: folder)  // a leftover folder harms no other test
    }

    var text: String { state.withLock { String(decoding: $0.output, as: UTF8.self) } }
    var steps: [Step] { state.withLock { $0.finished.map(\.step) } }
    var ended: [JobReport] { state.withLock { $0.ended } }

    func call<Input: Manifest, Output: Manifest>(
        _ operation: API.Operation<Input, Output>, _ input: Input
    ) async throws -> Output {
        // Nobody opens a terminal here, and its question is not among those that are counted.
        if operation.name == Shells.offers.name { try await SystemTime().sleep(for: .seconds(3600)) }
        try answer()
        var routes = Routes()
        add(to: &routes)
        return try await Switchboard(routes).call(operation, input, as: .system("test"))
    }

    /// Nobody answers while the test says so.
    private func answer() throws {
        try state.withLock { state in
            state.calls += 1
            if state.absences > 0 {
                state.absences -= 1
                throw Problem("server.unreachable", status: 0, "no answer from the server")
            }
        }
    }

    private func add(to routes: inout Routes) {
        routes.on(Runners.hello) { input, _ in
            self.state.withLock { $0.hellos.append(input.incarnation) }
            var welcome = RunnerWelcome()
            (welcome.lease_seconds, welcome.renew_seconds) = (1, 0.05)
            return welcome
        }
        routes.on(Runners.lease) { _, _ in
            var outcome = LeaseOutcome()
            outcome.lease = self.state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
            if outcome.lease == nil, !self.state.withLock({ $0.isDraining }) {
                try await SystemTime().sleep(for: .milliseconds(20))
            }
            return outcome
        }
        routes.on(Runners.renew) { _, _ in self.leaseState }
        routes.on(Runners.drain) { _, _ in
            self.state.withLock { $0.isDraining = true }
            return Nothing()
        }
        routes.on(Runners.absent) { input, _ in
            let digests = input.digests.compactMap { Digest($0) }
            return DigestList(try await self.blobs.absent(digests).map(\.text))
        }
        routes.on(Runners.testCases) { input, _ in
            self.state.withLock { $0.cases += input.cases }
            return self.leaseState
        }
        routes.on(Caches.find) { input, _ in self.find(input) }
        routes.on(Caches.save) { input, _ in
            var found = CacheFound()
            var entry = CacheEntry()
            (entry.key, entry.digest) = (input.key, input.digest)
            found.entry = entry
            self.state.withLock { $0.caches.append(entry) }
            return found
        }
        routes.on(Runners.stepStarted) { input, _ in
            self.state.withLock { $0.started.append(input.step.index) }
            return self.leaseState
        }
        routes.on(Runners.stepFinished) { input, _ in
            self.state.withLock { $0.finished.append(input) }
            return self.leaseState
        }
        routes.on(Runners.jobsFinished) { input, _ in
            var outcome = JobReportsOutcome()
            outcome.answers = input.reports.map { self.take($0) }
            self.news.ring()
            return outcome
        }
    }

    /// A lease ends once.
    private func take(_ report: JobReport) -> JobReportAnswer {
        var answer = JobReportAnswer()
        state.withLock { state in
            func key(_ report: JobReport) -> String { "\(report.run)/\(report.stage)/\(report.job)/\(report.epoch)" }
            guard !state.ended.contains(where: { key($0) == key(report) }) else {
                answer.problem = Problem("lease.lost", status: 409, "the lease has ended")
                return
            }
            state.finished += report.steps
            if let tail = report.output {
                let known = state.output.count - Int(tail.offset)
                if known >= 0 { state.output += Array(tail.text.utf8).dropFirst(known) }
            }
            state.ended.append(report)
        }
        answer.state = leaseState
        return answer
    }

    private func find(_ input: CacheQuery) -> CacheFound {
        var found = CacheFound()
        state.withLock { state in
            found.entry = state.caches.first { $0.key == input.key }
            found.is_exact = found.entry != nil
            found.entry =
                found.entry
                ?? state.caches.last { entry in input.restore.contains { entry.key.hasPrefix($0) } }
        }
        return found
    }

    private var leaseState: LeaseState {
        state.withLock { state in
            var answer = LeaseState()
            (answer.stop, answer.reason, answer.output_offset) = (
                state.stop != nil, state.stop, Int64(state.output.count)
            )
            return answer
        }
    }

    func append(_ bytes: [UInt8], _ input: OutputInput) async throws -> LeaseState {
        try answer()
        state.withLock { state in
            let known = state.output.count - Int(input.offset)
            if known >= 0 { state.output += bytes.dropFirst(known) }
        }
        news.ring()
        return leaseState
    }

    func hasBlob(_ digest: String) async throws -> Bool {
        try answer()
        return try await blobs.exists(#require(Digest(digest)))
    }

    func upload(file: String) async throws -> (digest: String, size: Int64) {
        try answer()
        state.withLock { $0.uploads += 1 }
        let put = try await blobs.put(file: file)
        return (put.digest.text, put.size)
    }

    func download(_ digest: String, to path: String) async throws {
        try answer()
        try FileManager.default.copyItem(atPath: blobs.path(of: #require(Digest(digest))), toPath: path)
    }

    // MARK: Jobs

    /// A lease with `run` steps.
    static func lease(_ scripts: [String], edit: (inout Lease) -> Void = { _ in }) -> Lease {
        var lease = Lease()
        (lease.project, lease.run, lease.stage, lease.job, lease.epoch) = ("default", "run_1", "build", "j", 1)
        lease.timeout_seconds = 60
        for (index, script) in scripts.enumerated() {
            var order = StepOrder()
            (order.index, order.name, order.verb, order.settings) = (index, "step \(index)", "run", .string(script))
            lease.steps.append(order)
        }
        edit(&lease)
        return lease
    }

    func agent(
        vagus: String = "/bin/false", executors: [any Executor] = [], drain: DrainSignal = DrainSignal(),
        edit: (inout RunnerSettings) -> Void = { _ in }
    ) -> RunnerAgent {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var settings = RunnerSettings(
            name: "one", folder: "\(folder)/runner", datasets: "\(folder)/datasets", vagus: vagus,
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder])
        settings.executors = executors
        edit(&settings)
        return RunnerAgent(door: self, settings: settings, logger: logger, time: SystemTime(), drain: drain)
    }

    /// Lets an agent work until the condition holds, then stops it.
    func work(
        _ leases: [Lease], vagus: String = "/bin/false", executors: [any Executor] = [],
        until isDone: (State) -> Bool = { !$0.ended.isEmpty }
    ) async throws {
        state.withLock { $0.waiting += leases }
        let agent = agent(vagus: vagus, executors: executors)
        let end = SystemTime().now.advanced(by: .seconds(60))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            while !state.withLock({ isDone($0) }) {
                try #require(SystemTime().now < end, "the runner does not get there: \(text)")
                try await news.wait(until: SystemTime().now.advanced(by: .milliseconds(20)), by: SystemTime())
            }
            group.cancelAll()
            do { try await group.waitForAll() } catch is CancellationError {}
        }
    }
}
