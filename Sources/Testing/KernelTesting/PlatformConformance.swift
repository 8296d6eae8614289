package import API
import Foundation
package import Kernel

/// A platform under test, and what is to be known of its surroundings.
package struct PlatformSubject: Sendable {
    package var platform: any Platform
    /// The same platform in a later life of ours.
    package var next: any Platform
    /// A platform of somebody else on the same machine.
    package var other: any Platform
    /// Image with a shell, where copies are containers.
    package var container: ContainerSpec?
    /// Whether the ports of copies can be reached from this very process.
    package var isReached: Bool
    /// Whether memory can be bounded here.
    package var boundsMemory: Bool
    /// What a copy has written; of a container once it has been stopped.
    package var log: @Sendable (InstanceID) -> String

    package init(
        _ platform: any Platform, next: any Platform, other: any Platform, container: ContainerSpec? = nil,
        isReached: Bool = true, boundsMemory: Bool, log: @escaping @Sendable (InstanceID) -> String
    ) {
        (self.platform, self.next, self.other, self.container) = (platform, next, other, container)
        (self.isReached, self.boundsMemory, self.log) = (isReached, boundsMemory, log)
    }
}

/// One sentence of the contract of ``Platform``, and how it is held against an implementation.
package struct PlatformCheck: Sendable {
    package var name: String
    package var body: @Sendable (PlatformTrial) async throws -> Void

    /// Runs the check; all copies are stopped after it, whatever it found.
    package func run(on subject: PlatformSubject) async throws {
        let trial = PlatformTrial(subject)
        var failure: (any Error)?
        do { try await body(trial) } catch { failure = error }
        for platform in [subject.platform, subject.other] {
            for left in try await platform.instances() { try await platform.stop(left.id, grace: .zero) }
        }
        if let failure { throw failure }
    }

    package static let all = [
        PlatformCheck(name: "a copy sees its environment and its port, and so does what asks it") { trial in
            var order = trial.order("echo $COLOUR $PORT ${PORT} > mark; exec sleep 1000")
            order.command.append("$PORT")
            let made = try await trial.subject.platform.start(order)
            try trial.expect(made.isRunning && made.port > 0, "it runs: \(made)")
            try await trial.become("the mark") {
                await trial.ask(made, "test \"$(cat mark)\" = \"blue $PORT $PORT\" && test $COLOUR = blue")
            }
            try trial.expect(await !trial.ask(made, "test -e no-such-file"), "what ends with 1 is no good answer")
        },
        PlatformCheck(name: "an open port is well, and the path of a server on it") { trial in
            guard trial.subject.isReached else { return }
            let made = try await trial.subject.platform.start(trial.order("exec sleep 1000"))
            try trial.expect(
                await !trial.subject.platform.probe(made, .port, timeout: .seconds(1)), "nobody listens there")
            let serving = try await trial.subject.platform.start(
                trial.order("exec python3 -m http.server --bind ${POD_IP:-127.0.0.1} $PORT", number: 2))
            try await trial.become("the port") {
                await trial.subject.platform.probe(serving, .port, timeout: .seconds(1))
            }
            try trial.expect(
                (serving.host, serving.port) != (made.host, made.port), "copies have addresses or ports of their own")
            try trial.expect(
                await trial.subject.platform.probe(serving, .path("/"), timeout: .seconds(5)), "the path is there")
            try trial.expect(
                await !trial.subject.platform.probe(serving, .path("nowhere"), timeout: .seconds(5)), "the path is not")
        },
        PlatformCheck(name: "started twice is started once, and a later life finds it, and nobody else does") { trial in
            let order = trial.order("echo x >> mark; exec sleep 1000")
            let made = try await trial.subject.platform.start(order)
            try trial.expect(try await trial.subject.platform.start(order) == made, "the second start is the first")
            try trial.expect(try await trial.subject.next.start(order) == made, "also in a later life")
            try trial.expect(try await trial.subject.next.instances() == [made], "it is found")
            try trial.expect(try await trial.subject.other.instances().isEmpty, "but by its own only")
            let theirs = try await trial.subject.other.start(order)
            try await trial.become("the mark") { await trial.ask(made, "test \"$(cat mark)\" = x") }
            try await trial.subject.next.stop(made.id, grace: .seconds(5))
            try trial.expect(try await trial.subject.other.instances() == [theirs], "an id may come twice on a machine")
        },
        PlatformCheck(name: "what was stopped is gone for good, and its log is kept") { trial in
            let order = trial.order("trap 'echo good-bye; exit' TERM; touch mark; while :; do sleep 0.05; done")
            let platform = trial.subject.platform
            let made = try await platform.start(order)
            try await trial.become("the mark") { await trial.ask(made, "test -e mark") }
            try await platform.stop(made.id, grace: .seconds(20))
            try trial.expect(try await platform.instances().isEmpty, "nothing runs")
            // A shell may tell of its children that were asked, too.
            let log = trial.subject.log(made.id)
            try trial.expect(log.hasSuffix("good-bye\n"), "it was asked: \(log)")
            try trial.expect(await !trial.ask(made, "true"), "nobody answers")
            try await platform.stop(made.id, grace: .seconds(20))
            try trial.expect(try await platform.start(order).isRunning == false, "its id is never started again")
            try trial.expect(try await platform.instances().isEmpty, "really")
        },
        PlatformCheck(name: "what does not listen is killed after its grace, children and all") { trial in
            let platform = trial.subject.platform
            let mark = trial.number()
            let made = try await platform.start(
                trial.order("trap '' TERM; sleep \(mark) & touch mark; while :; do sleep 0.05; done"))
            try await trial.become("the mark") { await trial.ask(made, "test -e mark") }
            try await platform.stop(made.id, grace: .milliseconds(200))
            try trial.expect(try await platform.instances().isEmpty, "nothing runs")
            try trial.expect(!trial.isSeen(mark), "its child neither")
        },
        PlatformCheck(name: "a copy that ended by itself is seen as ended, and not begun again") { trial in
            let platform = trial.subject.platform
            let order = trial.order("echo over; exit 3")
            let made = try await platform.start(order)
            try await trial.become("its end") { try await platform.instances().map(\.isRunning) == [false] }
            try trial.expect(try await platform.start(order).isRunning == false, "it has had its life")
            try await platform.stop(made.id, grace: .zero)
            try trial.expect(trial.subject.log(made.id) == "over\n", "its log is kept: \(trial.subject.log(made.id))")
        },
        PlatformCheck(name: "a command that asks for too long is killed with all that it has started") { trial in
            let made = try await trial.subject.platform.start(trial.order("exec sleep 1000"))
            let mark = trial.number()
            let answer = await trial.subject.platform.probe(
                made, .command(["/bin/sh", "-c", "sleep \(mark) & sleep \(mark)"]), timeout: .seconds(1))
            try trial.expect(!answer, "it did not answer in time")
            try await trial.become("the end of the command") { !trial.isSeen(mark) }
            try trial.expect(await trial.ask(made, "true"), "the copy is as it was")
        },
        PlatformCheck(name: "a copy that takes more memory than it may has ended") { trial in
            guard trial.subject.boundsMemory else { return }
            var order = trial.order("head -c 200000000 /dev/zero | tail > /dev/null && exec sleep 1000")
            order.memory = 40 << 20
            _ = try await trial.subject.platform.start(order)
            try await trial.become("its end") {
                try await trial.subject.platform.instances().map(\.isRunning) == [false]
            }
        },
    ]
}

/// What a check holds an implementation against.
package struct PlatformTrial: Sendable {
    package let subject: PlatformSubject
    private static let patience = Duration.seconds(60)

    init(_ subject: PlatformSubject) { self.subject = subject }

    /// A copy of one service that runs a script.
    func order(_ script: String, number: Int = 1) -> InstanceOrder {
        var order = InstanceOrder(
            id: InstanceID("default/web/1/\(number)"), service: Reference(project: "default", name: "web"), revision: 1,
            command: ["/bin/sh", "-c", script], environment: ["COLOUR": "blue"])
        order.container = subject.container
        return order
    }

    /// Seconds for a sleep that no other process on this machine has.
    func number() -> String { "1\(UInt32.random(in: 100_000...999_999))" }

    /// Whether a process with this word in its command runs on this machine.
    func isSeen(_ word: String) -> Bool { Machine.runs(word) }

    /// Asks by a shell command that must not take long.
    func ask(_ instance: Instance, _ script: String) async -> Bool {
        await subject.platform.probe(instance, .command(["/bin/sh", "-c", script]), timeout: .seconds(20))
    }

    func expect(_ condition: Bool, _ what: String) throws {
        if !condition { throw Failure(what: "it is not so: \(what)") }
    }

    /// Looks again until it is so.
    func become(_ what: String, _ condition: () async throws -> Bool) async throws {
        let time = SystemTime()
        let end = time.now.advanced(by: Self.patience)
        while time.now < end {
            if try await condition() { return }
            try await time.sleep(for: .milliseconds(20))
        }
        throw Failure(what: "waited \(Self.patience) for \(what)")
    }

    struct Failure: Error, CustomStringConvertible {
        var what: String
        var description: String { what }
    }
}

private enum Machine {
    /// Whether a living process has this word among its arguments.
    static func runs(_ word: String) -> Bool {
        let wanted = Array(word.utf8)
        // None to be seen: none runs.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []  // see above
        return names.contains { name in
            guard Int32(name) != nil, let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline") else {
                return false
            }
            return line.split(separator: 0).contains { $0.elementsEqual(wanted) }
        }
    }
}
