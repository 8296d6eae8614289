import Glibc
import Synchronization

/// Sockets of this machine, for ports that are free and ports that answer.
package enum LocalPort {
    /// Where `free` begins and how often it was asked: the same port comes again when all others have been looked at.
    private static let turn = Atomic(UInt.random(in: 0...UInt(UInt16.max)))

    /// A port of 127.0.0.1 that nobody listens on now, and that no outgoing connection is given before somebody does.
    ///
    /// It lies below the ports of outgoing connections (`ip_local_port_range`, ip(7)) and of a cluster's nodes (from
    /// 30,000 on), or among the former when those leave no room.
    package static func free() throws(ProcessError) -> Int {
        let candidates = 20_000..<min(30_000, max(20_000, firstOutgoing))
        for _ in candidates {
            let place = turn.wrappingAdd(1, ordering: .relaxed).oldValue % UInt(candidates.count)
            let port = candidates.lowerBound + Int(place)
            if (try? bound(to: port)) != nil { return port }  // somebody has it, or may not be asked
        }
        return try bound(to: 0)
    }

    /// The first port that the system gives to outgoing connections.
    private static let firstOutgoing: Int = {
        let range = ProcFile.text("/proc/sys/net/ipv4/ip_local_port_range") ?? ""
        return range.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 0
    }()

    /// Binds to a port, 0 is any, and lets go of it.
    private static func bound(to port: Int) throws(ProcessError) -> Int {
        let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard handle >= 0 else { throw .machinery("open a socket", errno) }
        defer { close(handle) }
        var address = self.address(port: port)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(handle, raw, length) == 0 ? getsockname(handle, raw, &length) : -1
            }
        }
        guard result == 0 else { throw .machinery("bind to 127.0.0.1", errno) }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Whether somebody accepts connections at an address, IPv4 or IPv6.
    ///
    /// Blocks for at most the timeout.
    package static func isOpen(_ port: Int, host: String = "127.0.0.1", timeout: Duration) -> Bool {
        let handle = connecting(port, host: host)
        guard handle >= 0 else { return false }
        defer { close(handle) }
        var waiting = pollfd(fd: handle, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, Int32(clamping: Int64(timeout / .milliseconds(1)))) == 1 else { return false }
        return failure(of: handle) == 0
    }

    /// A socket on its way to a port, which does not block; below zero when there is none.
    static func connecting(_ port: Int, host: String = "127.0.0.1") -> Int32 {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &found) == 0, let found else { return -1 }
        defer { freeaddrinfo(found) }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let handle = socket(found.pointee.ai_family, kind, 0)
        guard handle >= 0 else { return -1 }
        let result = connect(handle, found.pointee.ai_addr, found.pointee.ai_addrlen)
        if result == 0 || errno == EINPROGRESS { return handle }
        close(handle)
        return -1
    }

    /// Why a socket has no connection; 0 when it has one.
    static func failure(of socket: Int32) -> Int32 {
        var failure: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 ? failure : errno
    }

    private static func address(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(clamping: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
