import API
import Foundation
import Kernel
import Manifests
import Synchronization

/// Terminals between people and runners. In memory alone: a terminal is worth nothing without both its ends, and a server that
/// starts anew has neither.
///
/// The runner only asks (`offers`, `take`, `tell`); what is typed and what is printed waits here, within bounds. Whoever has not
/// been heard of for a while is taken to be gone, and the terminal with it.
final class ShellDesk: Sendable {
    /// Terminals that are open at once.
    static let limit = 64
    /// Bytes that wait in one direction.
    static let waiting = 256 << 10
    /// Bytes of one answer, and of one piece.
    static let piece = 64 << 10
    /// How long an end may be silent.
    static let patience: Duration = .seconds(60)
    private static let wait: Duration = .seconds(15)

    /// Bytes of which the first were taken already.
    private struct Stream {
        var start: Int64 = 0
        var bytes: [UInt8] = []
        var end: Int64 { start + Int64(bytes.count) }

        /// Takes a piece in; false when there is no room. What is there already is not taken twice.
        mutating func add(_ piece: [UInt8], at offset: Int64) throws(Problem) -> Bool {
            guard offset <= end else {
                throw Problem("shell.gap", status: 409, "bytes up to \(offset) are missing; send on from \(end)")
            }
            let new = piece.dropFirst(Int(min(end - offset, Int64(piece.count))))
            guard bytes.count + new.count <= ShellDesk.waiting else { return false }
            bytes += new
            return true
        }

        /// What is behind an offset; what is before it is forgotten.
        mutating func take(from offset: Int64) throws(Problem) -> [UInt8] {
            guard (start...end).contains(offset) else {
                throw Problem("shell.gap", status: 409, "the bytes from \(offset) on are not here")
            }
            bytes.removeFirst(Int(offset - start))
            start = offset
            return Array(bytes.prefix(ShellDesk.piece))
        }
    }

    private struct Shell {
        var order: ShellOrder
        var runner: String
        var subject: Subject
        /// Who has opened it: nobody else may type.
        var actor: String
        var input = Stream()
        var output = Stream()
        var rows: Int?
        var columns: Int?
        var isOffered = false
        var isClosed = false
        var ending: (code: Int?, problem: String?)?
        var openedAt: Timestamp
        var personSeen: Timestamp
        var runnerSeen: Timestamp
    }

    private let context: DomainContext
    private let shells = Mutex<[String: Shell]>([:])

    init(context: DomainContext) { self.context = context }

    private var now: Timestamp { context.time.now }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Shells.open) { input, call in try await me.open(input, call) }
        routes.on(Shells.send) { input, call in try me.send(input, call) }
        routes.on(Shells.read) { input, call in try await me.read(input, call) }
        routes.on(Shells.close) { input, call in try me.close(input, call) }
        routes.on(Shells.offers) { input, _ in try await me.offers(input) }
        routes.on(Shells.take) { input, _ in try await me.take(input) }
        routes.on(Shells.tell) { input, call in try await me.tell(input, call) }
    }

    // MARK: A person's side

    private func open(_ input: ShellInput, _ call: Call) async throws -> ShellTicket {
        let run = try await context.caller.call(Runs.get, RunName(project: input.project, run: input.run), as: call)
        let (job, step) = try run.shellPlace(job: input.job, step: input.step)
        guard let runner = job.runner else {
            throw Problem("shell.never-ran", status: 409, "job \"\(job.key)\" has not run on a runner")
        }
        var order = ShellOrder()
        order.shell = context.ids.next("shell")
        (order.run, order.stage, order.job, order.step) = (run.id, job.stage, job.name, step?.index ?? 0)
        (order.title, order.command, order.term) = (run.shellTitle(job, step), input.command, input.term)
        (order.rows, order.columns) = (input.rows, input.columns)
        let shell = Shell(
            order: order, runner: runner, subject: Subject(kind: "Run", project: run.project, name: run.id),
            actor: call.actor, openedAt: now, personSeen: now, runnerSeen: now)
        try shells.withLock { shells in
            shells = shells.filter { _, shell in
                now.since(max(shell.personSeen, shell.runnerSeen)) < Self.patience + Self.patience
            }
            guard shells.count < Self.limit else {
                throw Problem(
                    "shell.full", status: 429, "\(Self.limit) terminals are open already", hint: "Close one of them.")
            }
            shells[order.shell] = shell
        }
        // Told before anybody can type.
        do {
            try await context.store.change(call) { change in
                _ = try change.tell("shell.opened", about: shell.subject, Self.facts(shell))
            }
        } catch {
            shells.withLock { $0[order.shell] = nil }
            throw error
        }
        context.store.bells.ring([Self.topic(ofRunner: runner)])
        var ticket = ShellTicket()
        (ticket.shell, ticket.runner, ticket.title) = (order.shell, runner, order.title)
        return ticket
    }

    private func send(_ input: ShellKeys, _ call: Call) throws -> Nothing {
        let bytes = try Self.decoded(input.bytes)
        try person(input.shell, call) { shell in
            guard shell.ending == nil else { return }
            guard try shell.input.add(bytes, at: input.offset) else {
                throw Problem(
                    "shell.busy", status: 429, "what was typed before waits to be read",
                    hint: "Send it again in a moment."
                )
            }
            shell.rows = input.rows ?? shell.rows
            shell.columns = input.columns ?? shell.columns
        }
        context.store.bells.ring([Self.inputTopic(input.shell)])
        return Nothing()
    }

    private func read(_ place: ShellOffset, _ call: Call) async throws -> ShellOutput {
        let found = try await context.store.bells.poll(
            [Self.outputTopic(place.shell)], until: now.advanced(by: Self.wait), by: context.time
        ) { () -> ShellOutput? in
            let output = try self.output(place, call)
            return output.bytes.isEmpty && output.exit_code == nil && output.problem == nil ? nil : output
        }
        context.store.bells.ring([Self.roomTopic(place.shell)])
        return try found ?? output(place, call)
    }

    private func output(_ place: ShellOffset, _ call: Call) throws -> ShellOutput {
        try person(place.shell, call) { shell in
            var output = ShellOutput()
            (output.shell, output.offset) = (place.shell, place.offset)
            let bytes = try shell.output.take(from: place.offset)
            output.bytes = Data(bytes).base64EncodedString()
            // The end comes behind the last byte.
            if place.offset + Int64(bytes.count) == shell.output.end, let ending = shell.ending {
                (output.exit_code, output.problem) = ending
            } else if bytes.isEmpty, now.since(shell.runnerSeen) > Self.patience {
                output.problem = "runner \"\(shell.runner)\" does not answer"
            }
            return output
        }
    }

    private func close(_ place: ShellOffset, _ call: Call) throws -> Nothing {
        try person(place.shell, call) { $0.isClosed = true }
        context.store.bells.ring([Self.inputTopic(place.shell), Self.roomTopic(place.shell)])
        return Nothing()
    }

    private func person<T: Sendable>(_ id: String, _ call: Call, _ body: (inout Shell) throws -> T) throws -> T {
        try shells.withLock { shells in
            guard var shell = shells[id], shell.actor == call.actor else { throw Self.gone(id) }
            shell.personSeen = now
            let result = try body(&shell)
            shells[id] = shell
            return result
        }
    }

    // MARK: A runner's side

    private func offers(_ input: LeaseInput) async throws -> ItemList<ShellOrder> {
        let found = try await context.store.bells.poll(
            [Self.topic(ofRunner: input.name)], until: now.advanced(by: Self.wait), by: context.time
        ) { () -> [ShellOrder]? in
            let orders = self.shells.withLock { shells -> [ShellOrder] in
                let new = shells.filter { $0.value.runner == input.name && !$0.value.isOffered && !$0.value.isClosed }
                for id in new.keys {
                    shells[id]?.isOffered = true
                    shells[id]?.runnerSeen = self.now
                }
                return new.values.map(\.order).sorted { $0.shell < $1.shell }
            }
            return orders.isEmpty ? nil : orders
        }
        return ItemList(found ?? [])
    }

    private func take(_ place: ShellOffset) async throws -> ShellKeys {
        let sizes = try runner(place.shell) { [$0.rows, $0.columns] }
        let found = try await context.store.bells.poll(
            [Self.inputTopic(place.shell)], until: now.advanced(by: Self.wait), by: context.time
        ) { () -> ShellKeys? in
            let keys = try self.keys(place)
            let isNews = !keys.bytes.isEmpty || keys.closed || [keys.rows, keys.columns] != sizes
            return isNews ? keys : nil
        }
        return try found ?? keys(place)
    }

    private func keys(_ place: ShellOffset) throws -> ShellKeys {
        try runner(place.shell) { shell in
            var keys = ShellKeys()
            (keys.shell, keys.offset) = (place.shell, place.offset)
            keys.bytes = Data(try shell.input.take(from: place.offset)).base64EncodedString()
            (keys.rows, keys.columns) = (shell.rows, shell.columns)
            keys.closed = shell.isClosed || now.since(shell.personSeen) > Self.patience
            return keys
        }
    }

    private func tell(_ output: ShellOutput, _ call: Call) async throws -> Nothing {
        let bytes = try Self.decoded(output.bytes)
        let isTaken = try await context.store.bells.poll(
            [Self.roomTopic(output.shell)], until: now.advanced(by: Self.wait), by: context.time
        ) { () -> Bool? in
            try self.runner(output.shell) { shell -> Bool? in
                if shell.isClosed { return true }
                return try shell.output.add(bytes, at: output.offset) ? true : nil
            }
        }
        guard isTaken == true else {
            throw Problem("shell.busy", status: 429, "nobody reads the output", hint: "Tell it again in a moment.")
        }
        if output.exit_code != nil || output.problem != nil { try await end(output, call) }
        context.store.bells.ring([Self.outputTopic(output.shell)])
        return Nothing()
    }

    private func end(_ output: ShellOutput, _ call: Call) async throws {
        let ended = try runner(output.shell) { shell -> Shell? in
            guard shell.ending == nil else { return nil }
            shell.ending = (output.exit_code, output.problem)
            return shell
        }
        guard let ended else { return }
        var facts = Self.facts(ended)
        facts["by"] = .string(ended.actor)
        facts["seconds"] = .number(now.since(ended.openedAt) / .seconds(1))
        facts["exit_code"] = output.exit_code.map { .integer(Int64($0)) } ?? .null
        facts["problem"] = output.problem.map(JSONValue.string) ?? .null
        let final = facts
        try await context.store.change(Call(actor: "runner:\(ended.runner)", correlation: ended.order.run)) { change in
            _ = try change.tell("shell.closed", about: ended.subject, final)
        }
    }

    private func runner<T: Sendable>(_ id: String, _ body: (inout Shell) throws -> T) throws -> T {
        try shells.withLock { shells in
            guard var shell = shells[id] else { throw Self.gone(id) }
            shell.runnerSeen = now
            let result = try body(&shell)
            shells[id] = shell
            return result
        }
    }

    // MARK: Words

    private static func facts(_ shell: Shell) -> Ordered<JSONValue> {
        [
            "shell": .string(shell.order.shell), "runner": .string(shell.runner), "stage": .string(shell.order.stage),
            "job": .string(shell.order.job), "command": shell.order.command.json,
        ]
    }

    private static func gone(_ id: String) -> Problem {
        Problem("shell.gone", status: 404, "there is no terminal \"\(id)\"", hint: "Open one with: vagus shell RUN JOB")
    }

    private static func decoded(_ text: String) throws(Problem) -> [UInt8] {
        guard let data = Data(base64Encoded: text), data.count <= waiting else {
            throw Problem("shell.bytes", status: 422, "the bytes are no base64, or too many")
        }
        return Array(data)
    }

    private static func topic(ofRunner name: String) -> String { "ShellOffer/\(name)" }
    private static func inputTopic(_ id: String) -> String { "ShellInput/\(id)" }
    private static func outputTopic(_ id: String) -> String { "ShellOutput/\(id)" }
    private static func roomTopic(_ id: String) -> String { "ShellRoom/\(id)" }
}
