import API
import Dispatch
import Foundation
package import Kernel
import Manifests
import Processes
import Synchronization

/// Copies as processes of this machine, each in a session of its own, so that they outlive the server.
///
/// A copy is a folder `<folder>/<id>/` with `instance.json`, `work/` and `output.log`. The intent (id, port) is written
/// before the process is started, its identity (pid and start time) after. Whoever comes later finds it by looking: by
/// the identity, or, if the server died between the two, by the intent's mark in the environment of a running process.
package final class ProcessPlatform: Platform {
    /// Unpacks a tree, named by its digest, into a folder that is there and empty.
    package typealias Unpack = @Sendable (_ digest: String, _ folder: String) async throws -> Void
    /// Asks with GET; the status code, or nil when there was no answer in time.
    package typealias HTTPGet = @Sendable (_ url: String, _ timeout: Duration) async -> Int?

    private let folder: String
    private let time: any TimeSource
    private let unpack: Unpack
    private let httpGet: HTTPGet
    /// Blocking looks at files and sockets; never on the pool of Swift.
    private let queue = DispatchQueue(label: "vagus.delivery.platform", attributes: .concurrent)
    private let starting = Mutex<Set<InstanceID>>([])
    /// What is written down of each copy, read once and kept as it is written: of thousands nothing is read again.
    private let book = Mutex<[InstanceID: Known]?>(nil)
    private struct Known: Sendable {
        var place: InstanceFolder
        var record: InstanceFolder.Record
        /// Of a copy that this process has started, until it has ended.
        var running: RunningProcess?
        /// Of one that an earlier life of ours has started, until it has ended.
        var watch: EndWatch?
        /// How one that this process has started ended by itself.
        var ending: String?
    }
    /// The outputs that were told last, and what ``changes`` was before.
    private struct Told: Sendable {
        var changes: UInt64
        var outputs: [CopyOutput]
    }
    private let told = Mutex<Told?>(nil)
    /// Grows with each copy that is started, stopped or ends.
    private let moves = Atomic<UInt64>(0)
    /// Whether each copy that lives tells of its end.
    private let isTold = Atomic(false)

    /// Folders of ended copies that are kept for their logs.
    package static let endedLimit = 50
    /// Variable by which all that a probe's command has started is found.
    private static let probeMark = "VAGUS_PROBE_MARK"
    /// Where programs are looked for when a service sets no PATH.
    private static let searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// Keeps a folder for each copy in `folder`, which is made when it is not there.
    package init(folder: String, time: any TimeSource, unpack: @escaping Unpack, httpGet: @escaping HTTPGet) {
        (self.folder, self.time, self.unpack, self.httpGet) = (folder, time, unpack, httpGet)
    }

    // MARK: - The port

    package var changes: UInt64? { isTold.load(ordering: .acquiring) ? moves.load(ordering: .acquiring) : nil }

    package func instances() async throws -> [Instance] {
        let busy = starting.withLock { $0 }
        return await blocking { [self] in
            let all = known()
            forget(all)
            isTold.store(true, ordering: .releasing)
            return all.filter { $0.record.ended_at == nil }.map { known in
                guard !busy.contains(known.record.instanceID) else { return known.record.instance(isRunning: true) }
                guard isAlive(known) else { return ended(known) }
                known.place.boundLog()
                return known.record.instance(isRunning: true)
            }
        }
    }

    package func start(_ order: InstanceOrder) async throws -> Instance {
        guard starting.withLock({ $0.insert(order.id).inserted }) else {
            throw Problem(
                "instance.starting", status: 409, "\(order.id) is being started already",
                hint: "Wait for it to be ready.")
        }
        defer {
            _ = starting.withLock { $0.remove(order.id) }
            moved()
        }
        let place = place(of: order.id)
        if let known = await known(order.id, place) { return known }
        try await prepare(order, place)
        let record = try await writeIntent(order, place)
        let process = try await spawn(order, record, place)
        var final = record
        final.process = process.identity
        let done = final
        try await blockingThrows { [self] in try write(done, place, running: process) }
        return done.instance(isRunning: true)
    }

    package func stop(_ id: InstanceID, grace: Duration) async throws {
        let (place, now) = (place(of: id), time.now)
        let found = await blocking { [self] in record(of: id).map { ($0, process(of: $0, place)) } }
        guard let (record, process) = found else { return }
        if let process { await Processes.terminate(process, grace: grace) }
        var ended = record
        ended.process = process
        ended.ended_at = record.ended_at ?? now.microseconds
        let final = ended
        try await blockingThrows { [self] in
            try write(final, place)
            place.clear()
        }
    }

    package func outputs() async throws -> [CopyOutput] {
        let before = changes
        if let before, let told = told.withLock({ $0 }), told.changes == before { return told.outputs }
        let outputs = await blocking { [self] in
            known().map {
                CopyOutput(id: $0.record.instanceID, path: $0.place.log, hasEnded: $0.record.ended_at != nil)
            }
        }
        told.withLock { $0 = before.map { Told(changes: $0, outputs: outputs) } }
        return outputs
    }

    package func probe(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> Bool {
        await complaint(instance, question, timeout: timeout) == nil
    }

    package func complaint(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> String? {
        switch question {
        case .port:
            let answer = await PortProbe.shared.ask(port: instance.port, path: nil, timeout: timeout)
            return answer == .accepted ? nil : question.complaint(port: instance.port)
        case .path(let path): return await complaint(instance, path: path, timeout: timeout)
        case .command(let words):
            let isWell = await run(words, of: instance, timeout: timeout)
            return isWell ? nil : question.complaint(port: instance.port)
        }
    }

    private func complaint(_ instance: Instance, path: String, timeout: Duration) async -> String? {
        let port = instance.port
        let target = path.hasPrefix("/") ? path : "/" + path
        var code: Int?
        if PortProbe.isPlain(target) {
            let answer = await PortProbe.shared.ask(port: port, path: target, timeout: timeout)
            if case .status(let number) = answer { code = number }
            guard code != nil else {
                // Whether it listens at all is worth another question: a wrong port is the commonest slip.
                let door = await PortProbe.shared.ask(port: port, path: nil, timeout: timeout)
                guard door == .accepted else { return HealthQuestion.port.complaint(port: port) }
                return "\(target) was not answered within \(TimeSpan(seconds: timeout / .seconds(1)))"
            }
        }
        // Who points elsewhere is followed there.
        if code.map({ (300..<400).contains($0) }) ?? true {
            code = await httpGet("http://\(instance.host):\(port)\(target)", timeout)
        }
        guard let last = code else { return "\(target) was not answered on its port \(port)" }
        return (200..<300).contains(last) ? nil : "\(target) answered \(last)"
    }

    /// Runs a command in the working folder of a copy and with its environment, as its program was started with it.
    private func run(_ words: [String], of instance: Instance, timeout: Duration) async -> Bool {
        let place = place(of: instance.id)
        let found = await blocking { [self] in
            record(of: instance.id).flatMap { process(of: $0, place) }.flatMap(ProcessSearch.environment)
        }
        guard let program = words.first, var environment = found else { return false }
        // Not the copy itself: what is looked for by that mark would find the two of them.
        environment[ProcessSearch.variable] = nil
        environment[Self.probeMark] = UUID().uuidString
        let command = Command(
            executable: Self.filled(program, instance.port),
            arguments: words.dropFirst().map { Self.filled($0, instance.port) }, environment: environment,
            directory: place.work, output: .discard, dieWithParent: true, marker: Self.probeMark)
        do {
            return try await Processes.run(command, timeout: timeout, grace: .zero, linger: .zero) { _ in }.isSuccess
        } catch {
            return false  // it could not be run: no good answer
        }
    }

    private static func filled(_ text: String, _ port: Int) -> String {
        text.replacing("${PORT}", with: String(port)).replacing("$PORT", with: String(port))
    }

    // MARK: - Starting

    /// A copy of this id that was started before, whether it still runs or has ended.
    private func known(_ id: InstanceID, _ place: InstanceFolder) async -> Instance? {
        await blocking { [self] in
            guard let record = record(of: id) else { return nil }
            guard let process = process(of: record, place) else {
                // Meant but never started, or started and ended without a trace: only the first can be begun again.
                return record.ended_at == nil ? nil : record.instance(isRunning: false)
            }
            return record.instance(isRunning: record.ended_at == nil && Processes.isAlive(process))
        }
    }

    /// Makes the folders and unpacks the working folder beside its place first, so that half of one is never run.
    private func prepare(_ order: InstanceOrder, _ place: InstanceFolder) async throws {
        guard let digest = order.artifact else {
            return try await blockingThrows { try place.makeFolders() }
        }
        let partial = "\(place.path)/work.partial"
        try await blockingThrows {
            try place.makeFolders()
            if FileManager.default.fileExists(atPath: partial) { try FileManager.default.removeItem(atPath: partial) }
            try FileManager.default.createDirectory(atPath: partial, withIntermediateDirectories: true)
        }
        try await unpack(digest, partial)
        try await blockingThrows {
            try FileManager.default.removeItem(atPath: place.work)
            try FileManager.default.moveItem(atPath: partial, toPath: place.work)
        }
    }

    private func writeIntent(_ order: InstanceOrder, _ place: InstanceFolder) async throws -> InstanceFolder.Record {
        let now = time.now
        return try await blockingThrows { [self] in
            let taken = Set(known().lazy.filter { $0.record.ended_at == nil }.map(\.record.port))
            var port = try LocalPort.free()
            // A copy that is starting does not listen yet.
            for _ in 0..<100 where taken.contains(port) { port = try LocalPort.free() }
            let record = InstanceFolder.Record(
                id: order.id.text, project: order.service.project, service: order.service.name,
                revision: order.revision, port: port, mark: UUID().uuidString, started_at: now.microseconds)
            try write(record, place)
            return record
        }
    }

    private func spawn(
        _ order: InstanceOrder, _ record: InstanceFolder.Record, _ place: InstanceFolder
    ) async throws -> RunningProcess {
        guard let program = order.command.first else {
            throw Problem(
                "instance.command", status: 422, "there is no command to start", hint: "Write `command: […]`.")
        }
        var environment = order.environment
        environment["PORT"] = String(record.port)
        environment["VAGUS_INSTANCE"] = order.id.text
        environment[ProcessSearch.variable] = record.mark
        environment["PATH"] = environment["PATH"] ?? Self.searchPath
        environment["HOME"] = environment["HOME"] ?? place.work
        var command = Command(
            executable: Self.filled(program, record.port),
            arguments: order.command.dropFirst().map { Self.filled($0, record.port) }, environment: environment,
            directory: place.work, output: .file(place.log), marker: ProcessSearch.variable)
        // What this machine cannot hold is left out: the same manifest runs on machines with and without cgroups.
        let budget = ResourceBudget(
            memoryBytes: order.memory.map { UInt64(max(0, $0)) }, cpus: order.cpus)
        command.budget = budget.only(Processes.bounds)
        do {
            return try await Processes.start(command)
        } catch {
            throw Problem("instance.start", status: 422, error.message, hint: error.hint)
        }
    }

    // MARK: - Looking

    private func place(of id: InstanceID) -> InstanceFolder {
        InstanceFolder(path: "\(folder)/\(InstanceFolder.name(id))")
    }

    /// All that is known; read from the folder the first time.
    private func known() -> [Known] {
        book.withLock { book in
            if let book { return Array(book.values) }
            // No folder yet: nothing was ever started.
            let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []  // see above
            var found: [InstanceID: Known] = [:]
            for name in names {
                let place = InstanceFolder(path: "\(folder)/\(name)")
                if let record = place.read() { found[record.instanceID] = Known(place: place, record: record) }
                place.settleLog()
            }
            book = found
            return Array(found.values)
        }
    }

    private func record(of id: InstanceID) -> InstanceFolder.Record? {
        _ = known()
        return book.withLock { $0?[id]?.record }
    }

    /// On the disk first, in the book then.
    private func write(
        _ record: InstanceFolder.Record, _ place: InstanceFolder, running: RunningProcess? = nil
    ) throws {
        _ = known()
        try place.write(record)
        book.withLock { $0?[record.instanceID] = Known(place: place, record: record, running: running) }
        running?.whenEnded { [weak self] in self?.moved() }
        moved()
    }

    private func moved() { moves.add(1, ordering: .acquiringAndReleasing) }

    private func isAlive(_ known: Known) -> Bool {
        if let running = known.running {
            if !running.hasEnded { return true }
            let ending = running.exitStatus.map(Self.words)
            book.withLock { book in
                book?[known.record.instanceID]?.ending = ending
                // Nobody waits for it any more.
                book?[known.record.instanceID]?.running = nil
            }
            return false
        }
        if let watch = known.watch { return !watch.hasEnded }
        guard let process = process(of: known.record, known.place) else { return false }
        do {
            let watch = try EndWatch(process) { [weak self] in self?.moved() }
            guard let watch else { return false }
            book.withLock { $0?[known.record.instanceID]?.watch = watch }
            return true
        } catch {
            // Without a descriptor for it, it has to be looked at again and again.
            isTold.store(false, ordering: .releasing)
            return Processes.isAlive(process)
        }
    }

    /// A copy that has ended, and how, where that is known.
    private func ended(_ known: Known) -> Instance {
        var instance = known.record.instance(isRunning: false)
        instance.ending = book.withLock { $0?[known.record.instanceID]?.ending }
        return instance
    }

    private static func words(_ status: ExitStatus) -> String {
        switch status {
        case .exited(let code): "with exit status \(code)"
        case .signalled(let number): "by signal \(number)\(signals[number].map { " (\($0))" } ?? "")"
        }
    }

    /// The signals that usually end a program (signal(7)).
    private static let signals: [Int32: String] = [
        1: "SIGHUP", 2: "SIGINT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV",
        13: "SIGPIPE", 15: "SIGTERM",
    ]

    /// The process of a copy: the one written down, or the one found by its environment, which is then written down.
    private func process(of record: InstanceFolder.Record, _ place: InstanceFolder) -> ProcessIdentity? {
        if let process = record.process { return process }
        guard record.ended_at == nil, let found = ProcessSearch.leader(of: record) else { return nil }
        var adopted = record
        adopted.process = found
        try? write(adopted, place)  // only spares the next search
        return found
    }

    /// Takes away the oldest folders of copies that have ended.
    private func forget(_ all: [Known]) {
        let ended = all.filter { $0.record.ended_at != nil }
            .sorted { ($0.record.ended_at ?? 0) < ($1.record.ended_at ?? 0) }
        for known in ended.dropLast(Self.endedLimit) {
            known.place.remove()
            book.withLock { $0?[known.record.instanceID] = nil }
            moved()
        }
    }

    // MARK: - Off the pool

    private func blocking<T: Sendable>(_ body: @Sendable @escaping () -> T) async -> T {
        await withCheckedContinuation { listener in queue.async { listener.resume(returning: body()) } }
    }

    private func blockingThrows<T: Sendable>(_ body: @Sendable @escaping () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { listener in
            queue.async { listener.resume(with: Result { try body() }) }
        }
    }
}
