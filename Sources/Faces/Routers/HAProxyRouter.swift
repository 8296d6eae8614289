package import API
import Dispatch
import Glibc
package import Kernel
import Proxy

/// HAProxy 2.4 and later, in master-worker mode: `haproxy -W -p PIDFILE -f YOURS.cfg -f FOLDER/vagus.cfg`.
///
/// YOURS.cfg has the sections `global`, with `stats socket SOCKET level admin`, and `defaults`. Weights and copies change
/// through the socket, without a reload; the file follows, so that a restart finds the same. Routes, hosts and rules that
/// come or go are a reload (SIGUSR2), in which the old worker ends its connections in peace.
package actor HAProxyRouter: TrafficRouter {
    /// Where a HAProxy is reached.
    package struct Settings: Sendable {
        /// Folder for our file; read by HAProxy.
        package var folder: String
        /// Address that services are reached at, as in `bind`: `127.0.0.1:8480`, or more (`:443 ssl crt …`).
        package var bind: String
        /// The runtime socket, level admin.
        package var socket: String
        /// File with the master's process id.
        package var pidFile: String

        package init(folder: String, bind: String, socket: String, pidFile: String) {
            (self.folder, self.bind, self.socket, self.pidFile) = (folder, bind, socket, pidFile)
        }
    }

    package nonisolated let traits: RouterTraits = [.exactWeights, .keepsConnections, .counts]
    private let settings: Settings
    private let folder: RouterFolder
    private let time: any TimeSource
    private let epoch: String
    private var current: HAProxyConfiguration?
    private var running = RunningCounts()

    /// - Throws: When the folder cannot be made.
    package init(_ settings: Settings, time: any TimeSource = SystemTime()) throws {
        self.settings = settings
        self.time = time
        folder = try RouterFolder(settings.folder)
        epoch = "haproxy-\(time.now.microseconds)"
        if folder.read(Self.file) == nil {
            try folder.write(HAProxyConfiguration(.empty, bind: settings.bind).text, to: Self.file)
        }
    }

    package func take(_ table: RoutingTable) async throws {
        let routes = try table.routes(for: .haproxy, traits)
        let next = HAProxyConfiguration(routes, bind: settings.bind, previous: current)
        if current != nil { try await absorb() }
        if let current, current.structure == next.structure {
            for chunk in next.commands.chunked(Self.commandsAtOnce) {
                let answer = try await ask(chunk.joined(separator: "; "))
                guard !answer.contains("No such"), !answer.contains("Require"), !answer.contains("nvalid") else {
                    throw Self.problem("HAProxy refused a command: \(answer.prefix(200))")
                }
            }
            try folder.write(next.text, to: Self.file)
        } else {
            try await reload(next)
        }
        current = next
    }

    package func counts() async throws -> RouterCounts {
        if current != nil { try await absorb() }
        return RouterCounts(epoch: epoch, revisions: running.counts)
    }

    private func reload(_ next: HAProxyConfiguration) async throws {
        let master = try processID(in: settings.pidFile)
        let old = try? await worker()  // the first reload may be what brings the socket up
        let before = folder.read(Self.file)
        try folder.write(next.text, to: Self.file)
        // A master that is just being started, or reloads already, does not hear of it: it is told again.
        var isDone = false
        for _ in 0..<5 where !isDone {
            kill(master, SIGUSR2)
            isDone = try await waitUntil(time, Self.patience / 5) {
                let now = try? await self.worker()  // it is away for a moment
                return now != nil && now != old
            }
        }
        guard isDone else {
            if let before { try folder.write(before, to: Self.file) }
            throw Self.problem("HAProxy did not take up the new configuration")
        }
    }

    /// Process id of the worker that answers the socket.
    private func worker() async throws -> Substring? {
        try await ask("show info").split(separator: "\n").first { $0.hasPrefix("Pid:") }
    }

    /// Adds what the servers have counted since the last look to whom they stood for.
    private func absorb() async throws {
        guard let current else { return }
        let lines = try await ask("show stat").split(separator: "\n").map { line in
            line.split(separator: ",", omittingEmptySubsequences: false)
        }
        guard let heads = lines.first, let stot = heads.firstIndex(of: "stot"), let econ = heads.firstIndex(of: "econ"),
            let eresp = heads.firstIndex(of: "eresp"), let hrsp = heads.firstIndex(of: "hrsp_5xx")
        else { return }
        let slots = Dictionary(current.slots.map { ("\($0.backend)/\($0.name)", $0) }) { first, _ in first }
        for line in lines.dropFirst() where line.count == heads.count {
            let name = "\(line[0])/\(line[1])"
            guard let slot = slots[name], let revision = slot.revision else { continue }
            let errors = [econ, eresp, hrsp].reduce(Int64(0)) { $0 + (Int64(line[$1]) ?? 0) }
            running.note(
                name, requests: Int64(line[stot]) ?? 0, errors: errors, service: slot.service, revision: revision)
        }
    }

    private func ask(_ command: String) async throws -> String {
        let path = settings.socket
        // Reading a socket blocks, so it happens on a thread that may wait.
        let answer: String? = await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: RuntimeSocket.ask(path, command)) }
        }
        guard let answer else { throw Self.problem("no answer from HAProxy's socket \(path)") }
        return answer
    }

    private static func problem(_ message: String) -> Problem {
        Problem(
            "router.unreachable", status: 503, message,
            hint: "See HAProxy's own log, and whether its socket has level admin and it runs with -W.")
    }

    private static let file = "vagus.cfg"
    /// A reload takes some tens of milliseconds; a busy machine more.
    private static let patience = Duration.seconds(10)
    /// HAProxy reads lines of up to 16 kB.
    private static let commandsAtOnce = 64
}

/// One question and one answer on a stream socket of this machine.
enum RuntimeSocket {
    /// Blocks for at most five seconds; nil when there is no whole answer.
    static func ask(_ path: String, _ command: String) -> String? {
        let door = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard door >= 0 else { return nil }
        defer { close(door) }
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(door, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(door, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(door, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { return nil }
        let line = Array("\(command)\n".utf8)
        guard send(door, line, line.count, Int32(MSG_NOSIGNAL)) == line.count else { return nil }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while answer.count < 16 << 20 {
            let count = recv(door, &buffer, buffer.count, 0)
            guard count >= 0 else { return nil }
            if count == 0 { return String(decoding: answer, as: UTF8.self) }
            answer += buffer[..<count]
        }
        return nil
    }
}

extension Array {
    func chunked(_ size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min(count, $0 + size)] }
    }
}
