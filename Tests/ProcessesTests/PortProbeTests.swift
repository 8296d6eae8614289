import Dispatch
import Foundation
import Glibc
import Testing

@testable import Processes

/// Accepts connections on a port of its own, reads what is asked, and answers each with the same bytes.
private final class Door: Sendable {
    let port: Int
    private let socket: Int32
    private static let queue = DispatchQueue(label: "port-probe-tests", attributes: .concurrent)

    /// - Parameter parts: What is sent, piece by piece; none: it only accepts, and says nothing.
    init(_ parts: [String]) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let handle = socket
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(handle, raw, length) == 0 && listen(handle, 64) == 0 && getsockname(handle, raw, &length) == 0
            }
        }
        try #require(isBound)
        port = Int(UInt16(bigEndian: address.sin_port))
        guard !parts.isEmpty else { return }
        Self.queue.async {
            while true {
                let guest = accept(handle, nil, nil)
                guard guest >= 0 else { return }
                var asked = [UInt8](repeating: 0, count: 4096)
                _ = recv(guest, &asked, asked.count, 0)
                for part in parts { _ = send(guest, part, part.utf8.count, Int32(MSG_NOSIGNAL)) }
                close(guest)
            }
        }
    }

    deinit {
        shutdown(socket, Int32(SHUT_RDWR))
        close(socket)
    }
}

@Suite(.timeLimit(.minutes(1))) struct PortProbeTests {
    @Test(arguments: [
        (["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], PortProbe.Answer.status(200)),
        (["HTTP/1.0 503 Gone\r\n\r\n", String(repeating: "x", count: 10_000)], .status(503)),
        (["HTT", "P/1.1 2", "04 No Content\r\n\r\n"], .status(204)),
        (["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"], .status(200)),
        (["SSH-2.0-OpenSSH_9.2\r\n"], .nothing), (["HTTP/1.1 2x0 OK\r\n\r\n"], .nothing), (["HTTP/1"], .nothing),
        ([""], .nothing),
    ])
    func `the status of an answer is told, however it comes`(parts: [String], wanted: PortProbe.Answer) async throws {
        let door = try Door(parts)
        #expect(await PortProbe.shared.ask(port: door.port, path: "/health", timeout: .seconds(20)) == wanted)
    }

    @Test func `free ports are none that outgoing connections are given, and none comes twice`() throws {
        let range = try String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)
        let firstOutgoing = try #require(range.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) })
        let ports = try (0..<500).map { _ in try LocalPort.free() }
        #expect(Set(ports).count == 500)
        // Unless this machine leaves no others.
        #expect(firstOutgoing <= 20_000 || ports.allSatisfy { $0 < firstOutgoing })
    }

    @Test func `an open port accepts, and one that nobody listens at does not`() async throws {
        let door = try Door([])
        #expect(await PortProbe.shared.ask(port: door.port, path: nil, timeout: .seconds(20)) == .accepted)
        let free = try LocalPort.free()
        #expect(await PortProbe.shared.ask(port: free, path: nil, timeout: .seconds(20)) == .nothing)
        #expect(await PortProbe.shared.ask(port: free, path: "/", timeout: .seconds(20)) == .nothing)
    }

    @Test func `one that says nothing is given up when its time is over, and holds no other up`() async throws {
        let (silent, open) = (try Door([]), try Door(["HTTP/1.1 200 OK\r\n\r\n"]))
        let began = ContinuousClock.now
        let answers = await withTaskGroup(of: PortProbe.Answer.self) { group in
            for place in 0..<2 * PortProbe.limit {
                let (port, patience) = place.isMultiple(of: 2) ? (silent.port, 300) : (open.port, 30_000)
                group.addTask { await PortProbe.shared.ask(port: port, path: "/", timeout: .milliseconds(patience)) }
            }
            return await group.reduce(into: [PortProbe.Answer]()) { $0.append($1) }
        }
        #expect(answers.count { $0 == .status(200) } == PortProbe.limit)
        #expect(answers.count { $0 == .nothing } == PortProbe.limit)
        // One after the other they would take more than a minute.
        #expect(ContinuousClock.now - began < .seconds(30))
    }

    @Test func `many more than are asked at once are all answered`() async throws {
        let free = try LocalPort.free()
        let answers = await withTaskGroup(of: PortProbe.Answer.self) { group in
            for _ in 0..<20 * PortProbe.limit {
                group.addTask { await PortProbe.shared.ask(port: free, path: nil, timeout: .seconds(20)) }
            }
            return await group.reduce(into: 0) { $0 += $1 == .nothing ? 1 : 0 }
        }
        #expect(answers == 20 * PortProbe.limit)
    }

    @Test(arguments: [
        ("/", true), ("/a?b=c%20d", true), ("a", false), ("/a b", false), ("/a\r\nX: y", false), ("/ä", false),
    ])
    func `only plain paths are asked for as they are`(path: String, isPlain: Bool) {
        #expect(PortProbe.isPlain(path) == isPlain)
    }
}

@Suite(.timeLimit(.minutes(1))) struct EndWatchTests {
    private final class Flag: Sendable {
        private let count = DispatchSemaphore(value: 0)
        func raise() { count.signal() }
        var isRaised: Bool { count.wait(timeout: .now()) == .success }
    }

    @Test func `the end of a process that is known by its identity is told once`() async throws {
        let process = try await Processes.start(Shell.command("exec sleep 1000", output: .discard))
        let flag = Flag()
        let watch = try #require(try EndWatch(process.identity) { flag.raise() })
        #expect(!watch.hasEnded)
        await Processes.terminate(process.identity, grace: .seconds(20))
        #expect(await eventually { watch.hasEnded })
        #expect(await eventually { flag.isRaised })
        #expect(!flag.isRaised)
        #expect(try EndWatch(process.identity) {} == nil)
    }

    @Test func `a stranger with the same number is not watched`() async throws {
        let process = try await Processes.start(Shell.command("exec sleep 1000", output: .discard))
        let own = process.identity
        #expect(try EndWatch(ProcessIdentity(pid: own.pid, startTime: own.startTime - 1, bootID: own.bootID)) {} == nil)
        await Processes.terminate(own, grace: .zero)
    }
}
