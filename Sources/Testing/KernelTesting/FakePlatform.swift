package import API
package import Kernel
import Synchronization

/// A platform whose copies are entries in a table: a test decides which are well, which die, and which cannot start.
///
/// It outlives the house that uses it, as real copies outlive the server.
package final class FakePlatform: Platform {
    private struct Copy: Sendable {
        var order: InstanceOrder
        var instance: Instance
    }

    private struct State: Sendable {
        var copies: [InstanceID: Copy] = [:]
        var ill: Set<Int> = []
        var illCopies: Set<InstanceID> = []
        var bad: Set<HealthQuestion> = []
        var complaints: [Int: String] = [:]
        var asked: [InstanceID: [HealthQuestion]] = [:]
        var startFailure: (revision: Int, problem: Problem)?
        var nextPort = 20_000
        var outputs: [CopyOutput] = []
        var starts: [InstanceID: Int] = [:]
        var stops: [InstanceID] = []
        var most = 0
    }

    private let state = Mutex(State())
    private let time: any TimeSource
    private let interlude = Mutex<(@Sendable () async throws -> Void)?>(nil)

    package init(time: any TimeSource) { self.time = time }

    // MARK: - The port

    package func instances() async throws -> [Instance] {
        state.withLock { state in state.copies.values.map(\.instance).sorted { $0.id.text < $1.id.text } }
    }

    package func outputs() async throws -> [CopyOutput] { state.withLock { $0.outputs } }

    /// What `outputs` tells from now on.
    package func tell(_ outputs: [CopyOutput]) { state.withLock { $0.outputs = outputs } }

    package func start(_ order: InstanceOrder) async throws -> Instance {
        let body = interlude.withLock { interlude in
            defer { interlude = nil }
            return interlude
        }
        try await body?()
        let now = time.now
        return try state.withLock { state in
            if let copy = state.copies[order.id] { return copy.instance }
            if state.starts[order.id] != nil {
                return Instance(
                    id: order.id, service: order.service, revision: order.revision, host: "127.0.0.1", port: 0,
                    startedAt: now, isRunning: false)
            }
            if let failure = state.startFailure, failure.revision == order.revision { throw failure.problem }
            state.nextPort += 1
            state.starts[order.id, default: 0] += 1
            let instance = Instance(
                id: order.id, service: order.service, revision: order.revision, host: "127.0.0.1",
                port: state.nextPort, startedAt: now, isRunning: true)
            state.copies[order.id] = Copy(order: order, instance: instance)
            state.most = max(state.most, state.copies.values.count { $0.instance.isRunning })
            return instance
        }
    }

    package func stop(_ id: InstanceID, grace: Duration) async throws {
        state.withLock { state in
            if state.copies.removeValue(forKey: id) != nil { state.stops.append(id) }
        }
    }

    package func probe(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> Bool {
        state.withLock { state in
            state.asked[instance.id, default: []].append(question)
            if state.bad.contains(question) { return false }
            guard let copy = state.copies[instance.id], copy.instance.isRunning else { return false }
            return !state.ill.contains(instance.revision) && !state.illCopies.contains(instance.id)
        }
    }

    package func complaint(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> String? {
        if await probe(instance, question, timeout: timeout) { return nil }
        return state.withLock { $0.complaints[instance.revision] } ?? "it is ill"
    }

    // MARK: - The test's hand

    /// What ill copies of a revision are found to do.
    package func complain(_ words: String, revision: Int) { state.withLock { $0.complaints[revision] = words } }

    /// Makes the copies of a revision well or ill.
    package func setWell(_ isWell: Bool, revision: Int) {
        state.withLock { state in
            if isWell { state.ill.remove(revision) } else { state.ill.insert(revision) }
        }
    }

    /// Makes one copy well or ill.
    package func setWell(_ isWell: Bool, _ id: InstanceID) {
        state.withLock { state in
            if isWell { state.illCopies.remove(id) } else { state.illCopies.insert(id) }
        }
    }

    /// Makes the answer of every copy to a question good or bad.
    package func setGood(_ isGood: Bool, _ question: HealthQuestion) {
        state.withLock { state in
            if isGood { state.bad.remove(question) } else { state.bad.insert(question) }
        }
    }

    /// What a copy was asked, in order.
    package func questions(to id: InstanceID) -> [HealthQuestion] { state.withLock { $0.asked[id] ?? [] } }

    /// Ends a copy without being asked to, as a crash does.
    package func kill(_ id: InstanceID, _ ending: String? = nil) {
        state.withLock { state in
            state.copies[id]?.instance.isRunning = false
            state.copies[id]?.instance.ending = ending
        }
    }

    /// Lets every start of a revision fail; nil heals.
    package func failStarts(ofRevision revision: Int, with problem: Problem?) {
        state.withLock { $0.startFailure = problem.map { (revision, $0) } }
    }

    /// What happens while the next copy is being started.
    package func meanwhile(_ body: @escaping @Sendable () async throws -> Void) { interlude.withLock { $0 = body } }

    /// Copies that run, by revision.
    package func running(_ revision: Int? = nil) -> [Instance] {
        state.withLock { state in
            state.copies.values.map(\.instance).filter { $0.isRunning && (revision == nil || $0.revision == revision) }
                .sorted { $0.id.text < $1.id.text }
        }
    }

    /// Most copies that ran at once.
    package var most: Int { state.withLock { $0.most } }

    /// The order that a copy was started with.
    package func order(of id: InstanceID) -> InstanceOrder? { state.withLock { $0.copies[id]?.order } }

    /// How often each id was really started: never more than once.
    package var starts: [InstanceID: Int] { state.withLock { $0.starts } }

    /// Copies that were stopped, in order.
    package var stops: [InstanceID] { state.withLock { $0.stops } }
}
