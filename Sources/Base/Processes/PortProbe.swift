import CLinux
import Glibc
import Synchronization

/// Asks ports of this machine how they are: whether they accept, and with which status they answer a GET.
///
/// One thread and one `poll` for all who ask, so that a question costs little more than the socket that it takes: ten thousand
/// copies are asked every ten seconds for a few hundredths of a core. Each question has a connection of its own, since a kept
/// one would not show that a program takes no new ones (the kubelet does the same).
package final class PortProbe: Sendable {
    package enum Answer: Sendable, Equatable {
        /// No connection, no sound answer, or none in time.
        case nothing
        /// A connection was accepted, and nothing asked.
        case accepted
        /// The status of an HTTP answer, 200 and above.
        case status(Int)
    }

    /// The one that everybody shares.
    package static let shared = PortProbe()
    /// Questions under way at once; those beyond wait, and their time begins when it is their turn.
    package static let limit = 256

    private struct Ask: Sendable {
        var port: Int
        /// Bytes of the request; empty asks for a connection alone.
        var request: [UInt8]
        var timeout: Duration
        var answer: CheckedContinuation<Answer, Never>
    }
    private struct Queue: Sendable {
        var asks: [Ask] = []
        /// Written to when a question comes to an empty queue, and when some are left; below zero before the thread was started, or when it could not be.
        var bell: Int32 = -1
    }
    private let queue = Mutex(Queue())

    package init() {}

    /// Asks a port of 127.0.0.1; `path` is the target of a GET, nil for a connection alone.
    ///
    /// Not cancelled: it answers when its time is over.
    package func ask(port: Int, path: String?, timeout: Duration) async -> Answer {
        let request = path.map { path in
            "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nUser-Agent: vagus\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        }
        return await withCheckedContinuation { answer in
            put(Ask(port: port, request: Array((request ?? "").utf8), timeout: timeout, answer: answer))
        }
    }

    /// Whether a path can be asked for as it is: visible ASCII, so that nothing has to be written another way.
    package static func isPlain(_ path: String) -> Bool {
        path.hasPrefix("/") && path.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
    }

    private func put(_ ask: Ask) {
        let bell = queue.withLock { queue -> Int32 in
            if queue.bell < 0 { queue.bell = start() }
            guard queue.bell >= 0 else { return -1 }
            queue.asks.append(ask)
            return queue.asks.count == 1 ? queue.bell : 0
        }
        if bell < 0 { return ask.answer.resume(returning: .nothing) }
        if bell > 0 { _ = clinux_semaphore_post(bell) }
    }

    /// Starts the thread; its bell, below zero when the system gives none.
    private func start() -> Int32 {
        let bell = clinux_semaphore()
        guard bell >= 0 else { return bell }
        let context = Unmanaged.passRetained(PortProbeThread(bell: bell, take: take)).toOpaque()
        let started = clinux_thread("port-probe", portProbeBody, context)
        guard started < 0 else { return bell }
        Unmanaged<PortProbeThread>.fromOpaque(context).release()
        close(bell)
        return -1
    }

    /// Begins questions that wait, at most `room`; rings again for what is left.
    private func take(_ room: Int) -> [PortTalk] {
        let (asks, bell) = queue.withLock { queue -> ([Ask], Int32) in
            let taken = Array(queue.asks.prefix(room))
            queue.asks.removeFirst(taken.count)
            return (taken, taken.isEmpty || queue.asks.isEmpty ? -1 : queue.bell)
        }
        if bell >= 0 { _ = clinux_semaphore_post(bell) }
        return asks.map { PortTalk(port: $0.port, request: $0.request, timeout: $0.timeout, answer: $0.answer) }
    }
}

private func portProbeBody(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<PortProbeThread>.fromOpaque(context).takeRetainedValue().work()
}

/// The thread: waits for what sockets and askers do, for the life of the process.
private final class PortProbeThread: Sendable {
    private let bell: Int32
    private let take: @Sendable (_ room: Int) -> [PortTalk]

    init(bell: Int32, take: @escaping @Sendable (_ room: Int) -> [PortTalk]) { (self.bell, self.take) = (bell, take) }

    func work() {
        var talks: [PortTalk] = []
        while true {
            talks += take(PortProbe.limit - talks.count).filter { !$0.goOn() }
            var polled = [pollfd(fd: bell, events: Int16(POLLIN), revents: 0)]
            // No more are begun while all places are taken: what waits is seen when one is free.
            if talks.count >= PortProbe.limit { polled[0].fd = -1 }
            polled += talks.map { pollfd(fd: $0.socket, events: Int16($0.isAsked ? POLLIN : POLLOUT), revents: 0) }
            let soonest = talks.lazy.map(\.deadline).min()
            let wait = soonest.map { max(.zero, ContinuousClock.now.duration(to: $0)) }
            // Rounded up: a look just before a deadline would be for nothing.
            let milliseconds = wait.map { Int32(clamping: Int64($0 / .milliseconds(1)) + 1) } ?? -1
            guard poll(&polled, nfds_t(polled.count), milliseconds) >= 0 || errno == EINTR else { continue }
            if polled[0].revents != 0 { _ = clinux_semaphore_wait(bell) }
            let now = ContinuousClock.now
            var left: [PortTalk] = []
            for (place, talk) in talks.enumerated() {
                let isOver = polled[place + 1].revents != 0 ? talk.goOn() : false
                if isOver { continue }
                if talk.deadline <= now { talk.end() } else { left.append(talk) }
            }
            talks = left
        }
    }
}

/// One question: connects, asks, reads as much as is needed, and lets the other side finish.
///
/// Used by one thread.
private final class PortTalk {
    let socket: Int32
    let deadline: ContinuousClock.Instant
    /// Whether all was sent.
    private(set) var isAsked = false
    private var rest: ArraySlice<UInt8>
    private var head: [UInt8] = []
    private var drained = 0
    private var answer: CheckedContinuation<PortProbe.Answer, Never>?

    /// Bytes of heads that are read before the status is known, and of what follows before the connection is closed.
    private static let headLimit = 16 << 10
    private static let drainLimit = 64 << 10

    init(port: Int, request: [UInt8], timeout: Duration, answer: CheckedContinuation<PortProbe.Answer, Never>) {
        (rest, self.answer) = (request[...], answer)
        deadline = .now + timeout
        socket = LocalPort.connecting(port)
    }

    deinit {
        end()
        if socket >= 0 { close(socket) }
    }

    /// Tells that there is no answer, if none was told.
    func end() { tell(.nothing) }

    /// Does what can be done without waiting; true when there is nothing left to do.
    func goOn() -> Bool {
        guard socket >= 0 else { return true }
        if !isAsked {
            if rest.isEmpty { return isConnected() }
            guard send() else { return true }
            if !isAsked { return false }
        }
        return read()
    }

    private func tell(_ found: PortProbe.Answer) {
        answer?.resume(returning: found)
        answer = nil
    }

    /// Where nothing is to be asked, the connection is the answer.
    private func isConnected() -> Bool {
        var waiting = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, 0) == 1 else { return false }
        if LocalPort.failure(of: socket) == 0 { tell(.accepted) }
        return true
    }

    /// Sends what is left; false when there is no connection.
    private func send() -> Bool {
        let sent = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        // On this machine it is made as soon as it is asked for; else the socket tells when.
        if sent < 0 { return errno == EAGAIN || errno == EINTR || errno == ENOTCONN }
        rest = rest.dropFirst(sent)
        isAsked = rest.isEmpty
        return true
    }

    private func read() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(socket, &bytes, bytes.count, 0)
            guard count > 0 else { return !(count < 0 && (errno == EAGAIN || errno == EINTR)) }
            if answer == nil {
                // It may say what it has to say, so that it sees no broken connection.
                drained += count
                if drained > Self.drainLimit { return true }
                continue
            }
            head += bytes[..<count]
            guard let status = HTTPStatusLine.status(in: &head) else {
                if head.count > Self.headLimit || !HTTPStatusLine.mayBegin(head) { return true }
                continue
            }
            tell(.status(status))
        }
    }
}

/// As much of HTTP/1 as it takes to know a status.
enum HTTPStatusLine {
    private static let start = Array("HTTP/1.".utf8)
    /// `HTTP/1.1 200`.
    private static let length = 12

    /// Whether bytes may be the beginning of an answer.
    static func mayBegin(_ bytes: [UInt8]) -> Bool {
        zip(start, bytes).allSatisfy { $0 == $1 }
    }

    /// The status of the first final answer in `bytes`; nil while it is not there.
    ///
    /// Takes out answers that come before it (1xx).
    static func status(in bytes: inout [UInt8]) -> Int? {
        while bytes.count >= length, mayBegin(bytes), bytes[8] == UInt8(ascii: " ") {
            let digits = bytes[9..<length].map { Int($0) - 48 }
            guard digits.allSatisfy((0...9).contains) else { return nil }
            let status = digits.reduce(0) { $0 * 10 + $1 }
            if status >= 200 { return status }
            guard let end = firstBlankLine(bytes) else { return nil }
            bytes.removeFirst(end)
        }
        return nil
    }

    /// The place after the first empty line.
    private static func firstBlankLine(_ bytes: [UInt8]) -> Int? {
        let mark = Array("\r\n\r\n".utf8)
        return bytes.indices.dropLast(mark.count - 1).first { bytes[$0..<$0 + mark.count].elementsEqual(mark) }
            .map { $0 + mark.count }
    }
}
