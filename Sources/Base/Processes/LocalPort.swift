import Glibc

/// Sockets of this machine, for ports that are free and ports that answer.
package enum LocalPort {
    /// A port of 127.0.0.1 that nobody listens on now.
    package static func free() throws(ProcessError) -> Int {
        let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard handle >= 0 else { throw .machinery("open a socket", errno) }
        defer { close(handle) }
        var address = self.address(port: 0)
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
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &found) == 0, let found else { return false }
        defer { freeaddrinfo(found) }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let handle = socket(found.pointee.ai_family, kind, 0)
        guard handle >= 0 else { return false }
        defer { close(handle) }
        let result = connect(handle, found.pointee.ai_addr, found.pointee.ai_addrlen)
        if result == 0 { return true }
        guard errno == EINPROGRESS else { return false }
        var waiting = pollfd(fd: handle, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, Int32(clamping: Int64(timeout / .milliseconds(1)))) == 1 else { return false }
        var failure: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(handle, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0
    }

    private static func address(port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(clamping: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
