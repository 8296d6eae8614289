import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct ShellTests {
    /// A house in which a job has failed on the runner that `hello` names.
    private func failed() async throws -> (PipelineHouse, Run) {
        let it = try await PipelineHouse()
        try await it.house.apply(
            "{ kind: Pipeline, name: p, stages: [{ name: test, jobs: { unit: { steps: [{ run: x }] } } }] }")
        try await it.hello()
        let run = try await it.start("p")
        let lease = try await it.lease()
        try await it.end(lease, .failed)
        try await it.settle()
        return (it, try await it.run(run.id))
    }

    private static let ana = Call(actor: "user:ana", correlation: "c", permission: .admin)

    private func open(_ it: PipelineHouse, _ run: Run) async throws -> ShellTicket {
        var input = ShellInput()
        (input.run, input.job) = (run.id, "test")
        return try await it.house.caller.call(Shells.open, input, as: Self.ana)
    }

    private func offers(_ it: PipelineHouse, _ runner: String) async throws -> [ShellOrder] {
        var input = LeaseInput()
        (input.name, input.incarnation) = (runner, "1")
        return try await it.house.call(Shells.offers, input).items
    }

    private func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }
    private func text(_ base64: String) -> String {
        String(decoding: Data(base64Encoded: base64) ?? Data(), as: UTF8.self)
    }

    private func told(_ shell: String, _ offset: Int64, _ words: String, exit code: Int? = nil) -> ShellOutput {
        var output = ShellOutput()
        (output.shell, output.offset, output.bytes, output.exit_code) = (shell, offset, base64(words), code)
        return output
    }

    @Test func `bytes go both ways, each once, and the end comes behind the last`() async throws {
        let (it, run) = try await failed()
        let ticket = try await open(it, run)
        #expect(ticket.title == "p:1 test/unit step 1" && ticket.runner == run.jobs[0].runner)
        let orders = try await offers(it, ticket.runner)
        #expect(orders.map(\.shell) == [ticket.shell] && orders.first?.stage == "test" && orders.first?.rows == 24)

        var keys = ShellKeys()
        (keys.shell, keys.bytes, keys.rows, keys.columns) = (ticket.shell, base64("ls\n"), 50, 132)
        for _ in 0..<2 { _ = try await it.house.caller.call(Shells.send, keys, as: Self.ana) }
        let typed = try await it.house.call(Shells.take, ShellOffset(ticket.shell))
        #expect(text(typed.bytes) == "ls\n" && typed.rows == 50 && typed.columns == 132 && !typed.closed)

        for _ in 0..<2 { _ = try await it.house.call(Shells.tell, told(ticket.shell, 0, "made.txt\r\n")) }
        _ = try await it.house.call(Shells.tell, told(ticket.shell, 10, "bye", exit: 7))
        let seen = try await it.house.caller.call(Shells.read, ShellOffset(ticket.shell), as: Self.ana)
        #expect(text(seen.bytes) == "made.txt\r\nbye" && seen.exit_code == 7)

        let opened = try await it.house.events(named: "shell.opened")
        #expect(opened.count == 1 && opened[0].actor == "user:ana" && opened[0].subject.name == run.id)
        let closed = try await it.house.events(named: "shell.closed")
        #expect(closed.count == 1 && closed[0].data["exit_code"] == 7 && closed[0].data["by"] == "user:ana")
    }

    @Test func `only whoever opened a terminal types into it, and only an admin opens one`() async throws {
        let (it, run) = try await failed()
        let ticket = try await open(it, run)
        let bob = Call(actor: "user:bob", correlation: "c", permission: .admin)
        var keys = ShellKeys()
        keys.shell = ticket.shell
        let stranger = keys
        var problem = await #expect(throws: Problem.self) {
            try await it.house.caller.call(Shells.send, stranger, as: bob)
        }
        #expect(problem?.status == 404)
        var input = ShellInput()
        (input.run, input.job) = (run.id, "test")
        let wanted = input
        let writer = Call(actor: "user:eve", correlation: "c", permission: .write)
        problem = await #expect(throws: Problem.self) {
            try await it.house.caller.call(Shells.open, wanted, as: writer)
        }
        #expect(problem?.status == 403)
        #expect(try await it.house.events(named: "shell.opened").count == 1)
    }

    @Test func `a terminal that was closed, or that nobody has looked at for a while, ends`() async throws {
        let (it, run) = try await failed()
        let first = try await open(it, run)
        _ = try await it.house.caller.call(Shells.close, ShellOffset(first.shell), as: Self.ana)
        #expect(try await it.house.call(Shells.take, ShellOffset(first.shell)).closed)
        let second = try await open(it, run)
        it.house.time.advance(by: ShellDesk.patience + .seconds(1))
        #expect(try await it.house.call(Shells.take, ShellOffset(second.shell)).closed)
    }

    @Test func `a runner that does not come is told to whoever waits`() async throws {
        let (it, run) = try await failed()
        let ticket = try await open(it, run)
        it.house.time.advance(by: ShellDesk.patience + .seconds(1))
        let seen = try await it.house.caller.call(Shells.read, ShellOffset(ticket.shell), as: Self.ana)
        #expect(seen.problem == "runner \"\(ticket.runner)\" does not answer")
    }

    @Test func `more than waits is not taken, and a gap is refused`() async throws {
        let (it, run) = try await failed()
        let ticket = try await open(it, run)
        var keys = ShellKeys()
        keys.shell = ticket.shell
        keys.bytes = Data(repeating: 1, count: ShellDesk.waiting).base64EncodedString()
        _ = try await it.house.caller.call(Shells.send, keys, as: Self.ana)
        (keys.offset, keys.bytes) = (Int64(ShellDesk.waiting), base64("x"))
        let more = keys
        var problem = await #expect(throws: Problem.self) {
            try await it.house.caller.call(Shells.send, more, as: Self.ana)
        }
        #expect(problem?.status == 429)
        problem = await #expect(throws: Problem.self) {
            try await it.house.call(Shells.tell, told(ticket.shell, 5, "late"))
        }
        #expect(problem?.code == "shell.gap")
    }
}
