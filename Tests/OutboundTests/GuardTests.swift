import Testing

@testable import Outbound

@Suite struct GuardTests {
    @Test(arguments: [
        "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1",
        "223.255.255.255", "2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
        "2002:0808:0808::1",
    ])
    func `a public address is let through`(address: String) {
        #expect(AddressGuard.isPublic(address))
    }

    @Test(arguments: [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1", "2002:7f00:0001::", "fc00::1", "fd12::1", "fe80::1", "ff02::1", "2001:db8::1", "2001::1",
        "100::1", "no address", "",
    ])
    func `an address inside is not`(address: String) {
        #expect(!AddressGuard.isPublic(address))
    }

    @Test(arguments: ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0"])
    func `no spelling of the own machine passes the guard`(host: String) async throws {
        let configuration = OutboundConfiguration(addressGuard: .publicOnly, allowsUnixSockets: true)
        try await withServer(configuration, answering: { _ in .text("inside") }) { client, server in
            let request = HTTPRequest(url: "http://\(host):\(server.port)/")
            #expect(await code { try await client.send(request, deadline: .seconds(20)) } == .addressNotAllowed)
            let socket = HTTPRequest(url: "http+unix://%2Ftmp%2Fx.sock/")
            #expect(await code { try await client.send(socket, deadline: .seconds(20)) } == .addressNotAllowed)
            #expect(server.requests.isEmpty)
        }
    }

    @Test func `pauses grow, with jitter, up to the longest`() {
        let budget = RetryBudget(firstPause: .milliseconds(100), longestPause: .seconds(1))
        let longest = (1...8).map { budget.pause(after: $0, chance: 1) }
        #expect(longest == [100, 200, 400, 800, 1000, 1000, 1000, 1000].map { .milliseconds($0) })
        #expect(budget.pause(after: 3, chance: 0.5) == .milliseconds(200))
        #expect(budget.pause(after: 900, chance: 0) == .zero)
    }

    @Test func `a slow consumer is not taken for a silent server`() async throws {
        let start = ContinuousClock.now
        let patience = Patience(head: .seconds(5), idle: .seconds(2))
        let mailbox = Mailbox(now: start)
        #expect(mailbox.overdue(patience, since: start, now: start)?.at == start + .seconds(5))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await mailbox.put(.head(HTTPResponse(status: 200))) }
            // The part waits for the consumer: the limit moves along with the clock.
            let later = start + .seconds(100)
            while mailbox.overdue(patience, since: start, now: later)?.at != later + .seconds(2) { await Task.yield() }
            _ = try await mailbox.take()
            // Now the network is awaited again: the limit stands still.
            let limit = mailbox.overdue(patience, since: start, now: start + .seconds(200))
            #expect(limit.map { $0.at < start + .seconds(100) } == true)
            try await group.waitForAll()
        }
    }
}
