import CLinux
import Glibc
import Synchronization

/// A thread that does one blocking thing after the other, apart from the Swift pool, for the life of the process.
///
/// Its queue needs no bound of its own: each job belongs to one suspended caller.
final class WorkThread: Sendable {
    private let jobs = Mutex<[@Sendable () -> Void]>([])
    private let semaphore: Int32

    init(name: StaticString) throws(ProcessError) {
        semaphore = clinux_semaphore()
        guard semaphore >= 0 else { throw .machinery("make a semaphore", -semaphore) }
        let context = Unmanaged.passRetained(self).toOpaque()
        let started = name.withUTF8Buffer { text in
            text.withMemoryRebound(to: CChar.self) { characters in
                clinux_thread(characters.baseAddress, workThreadBody, context)
            }
        }
        if started < 0 {
            Unmanaged<WorkThread>.fromOpaque(context).release()
            throw .machinery("start a thread", -started)
        }
    }

    deinit { close(semaphore) }

    /// Runs a body on this thread and gives its result.
    func run<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
        await withCheckedContinuation { continuation in
            jobs.withLock { $0.append { continuation.resume(returning: body()) } }
            _ = clinux_semaphore_post(semaphore)
        }
    }

    fileprivate func work() {
        while clinux_semaphore_wait(semaphore) == 0 {
            let job = jobs.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            job?()
        }
    }
}

private func workThreadBody(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<WorkThread>.fromOpaque(context).takeRetainedValue().work()
}

/// The one thread that waits for descriptors: pipes, timers, ends of processes.
final class EventThread: Sendable {
    /// A descriptor being watched.
    struct Watch: Sendable {
        fileprivate let token: UInt64
        fileprivate let descriptor: Int32
    }

    private struct Table {
        var lastToken: UInt64 = 0
        var handlers: [UInt64: @Sendable () -> Void] = [:]
    }

    private let epoll: Int32
    private let table = Mutex(Table())

    init() throws(ProcessError) {
        epoll = clinux_epoll()
        guard epoll >= 0 else { throw .machinery("make an epoll", -epoll) }
        let context = Unmanaged.passRetained(self).toOpaque()
        let started = clinux_thread("process-events", eventThreadBody, context)
        if started < 0 {
            Unmanaged<EventThread>.fromOpaque(context).release()
            throw .machinery("start a thread", -started)
        }
    }

    deinit { close(epoll) }

    /// Calls a short body on the event thread whenever the descriptor becomes readable or is hung up; at once when it
    /// already is.
    ///
    /// The descriptor must stay open until `forget`.
    func watch(_ descriptor: Int32, _ body: @escaping @Sendable () -> Void) throws(ProcessError) -> Watch {
        let token = table.withLock { table in
            table.lastToken += 1
            table.handlers[table.lastToken] = body
            return table.lastToken
        }
        let added = clinux_epoll_add(epoll, descriptor, token)
        if added < 0 {
            table.withLock { $0.handlers[token] = nil }
            throw .machinery("watch a descriptor", -added)
        }
        return Watch(token: token, descriptor: descriptor)
    }

    /// Ends a watch; a call of its body that is under way may still finish.
    func forget(_ watch: Watch) {
        _ = clinux_epoll_remove(epoll, watch.descriptor)
        // The body may own the last reference to something whose deinit comes here again: let go outside the lock.
        let body = table.withLock { $0.handlers.removeValue(forKey: watch.token) }
        _ = body
    }

    fileprivate func wait() {
        var tokens = [UInt64](repeating: 0, count: 64)
        while true {
            let count = clinux_epoll_wait(epoll, &tokens, Int32(tokens.count))
            guard count >= 0 else { return }
            for token in tokens.prefix(Int(count)) {
                let body = table.withLock { $0.handlers[token] }
                body?()
            }
        }
    }
}

private func eventThreadBody(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<EventThread>.fromOpaque(context).takeRetainedValue().wait()
}

/// The three threads of this module, started when first needed.
struct Machinery: Sendable {
    let events: EventThread
    /// Starts programs.
    ///
    /// PDEATHSIG fires when the thread that started a child ends, so this one never does.
    let spawner: WorkThread
    /// Searches and kills.
    let sweeper: WorkThread

    private static let kept = Mutex<Machinery?>(nil)

    static func shared() throws(ProcessError) -> Machinery {
        try kept.withLock { kept throws(ProcessError) in
            if let kept { return kept }
            let made = Machinery(
                events: try EventThread(), spawner: try WorkThread(name: "process-spawn"),
                sweeper: try WorkThread(name: "process-sweep"))
            kept = made
            return made
        }
    }
}
