import Foundation
import Kernel
import Processes
import Testing

@testable import Executors

@Suite struct SandboxTests {
    private func order(network: Bool, home: String? = nil) -> ExecutionOrder {
        var order = ExecutionOrder(
            id: "i", job: "j", command: ["true"], environment: home.map { ["HOME": $0] } ?? [:],
            directory: "/srv/work/job", writable: ["/srv/work"])
        order.network = network
        return order
    }

    @Test func `the network is there only when asked for`() {
        let sandbox = Sandbox(program: "/usr/bin/bwrap")
        #expect(sandbox.arguments(for: order(network: false)).contains("--unshare-net"))
        #expect(!sandbox.arguments(for: order(network: true)).contains("--unshare-net"))
    }

    @Test func `nothing but the workspace can be written`() {
        let all = Sandbox(program: "/usr/bin/bwrap", readable: ["/srv/tools"]).arguments(for: order(network: false))
        let writable = all.indices.filter { all[$0] == "--bind" }.map { all[$0 + 1] }
        #expect(writable == ["/srv/work"])
        #expect(all.indices.contains { all[$0] == "--ro-bind-try" && all[$0 + 1] == "/srv/tools" })
    }

    @Test func `the way to what is shown is open to everybody, and made before`() throws {
        let all = Sandbox(program: "/usr/bin/bwrap", readable: ["/home/x/tools"]).arguments(for: order(network: false))
        let made = all.indices.filter { all[$0] == "--dir" && all[$0 - 1] == "0755" }.map { all[$0 + 1] }
        #expect(made == ["/var", "/home", "/home/x", "/srv"])
        let bind = try #require(all.indices.first { all[$0] == "--bind" && all[$0 + 1] == "/srv/work" })
        #expect(try #require(all.firstIndex(of: "/srv")) < bind)
    }

    @Test func `a command of another user becomes it inside, last of all`() {
        let sandbox = Sandbox(program: "/usr/bin/bwrap")
        let user = ProcessUser(id: 7, group: 8, groups: [8, 9])
        let all = sandbox.arguments(for: order(network: false), as: user)
        #expect(all.suffix(6).dropFirst() == ["--reuid=7", "--regid=8", "--groups=8,9", "--inh-caps=-all", "--"])
        #expect(sandbox.arguments(for: order(network: false)).last == "--")
        #expect(!sandbox.arguments(for: order(network: false)).contains("CAP_SETUID"))
    }

    @Test(arguments: [("/root", true), ("/srv/work/home", false), ("/tmp", false), ("/", false), ("/usr/x", false)])
    func `a home that is not shown is an empty one`(home: String, isMade: Bool) {
        let all = Sandbox(program: "/usr/bin/bwrap").arguments(for: order(network: false, home: home))
        #expect(all.indices.contains { all[$0] == "--tmpfs" && all[$0 + 1] == home && home != "/tmp" } == isMade)
    }
}
