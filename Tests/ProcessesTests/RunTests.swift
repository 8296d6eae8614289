import Glibc
import Processes
import Synchronization
import Testing

@testable import struct Processes.ProcessEntry

@Suite(.timeLimit(.minutes(2))) struct RunTests {
    @Test func `joined streams come as one, in order`() async throws {
        let heard = Listener()
        let script = "for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; done; exec >&-; echo last >&2"
        let outcome = try await Processes.run(Shell.command(script, output: .joined), output: heard.take)
        #expect(outcome.status == .exited(0) && heard.error.isEmpty)
        #expect(heard.lines == (1...5).flatMap { ["out \($0)", "err \($0)"] } + ["last"])
    }

    @Test func `a run gives both streams and the exit code`() async throws {
        let heard = Listener()
        let outcome = try await Processes.run(
            Shell.command("echo out; echo err >&2; exit 3"), timeout: .seconds(30), output: heard.take)
        #expect(outcome.status == .exited(3))
        #expect(!outcome.isSuccess)
        #expect(heard.output == "out\n")
        #expect(heard.error == "err\n")
        #expect(outcome.outputBytes == 8)
    }

    @Test func `a killed program is told as signalled`() async throws {
        let outcome = try await Processes.run(Shell.command("kill -9 $$")) { _ in }
        #expect(outcome.status == .signalled(SIGKILL))
    }

    @Test func `the environment is what was given and nothing else`() async throws {
        setenv("PROCESSES_TESTS_SECRET", "hidden", 1)
        let heard = Listener()
        let command = Command(executable: "/usr/bin/env", environment: ["A": "1", "B": "two words"], directory: "/")
        _ = try await Processes.run(command, output: heard.take)
        #expect(heard.lines == ["A=1", "B=two words"])
    }

    @Test func `standard input is empty unless a file is given`() async throws {
        let folder = try Folder()
        var command = Shell.command("cat; echo end")
        let nothing = Listener()
        _ = try await Processes.run(command, timeout: .seconds(30), output: nothing.take)
        #expect(nothing.output == "end\n")
        command.input = .file(try folder.write("given\n", to: "input"))
        let file = Listener()
        _ = try await Processes.run(command, timeout: .seconds(30), output: file.take)
        #expect(file.output == "given\nend\n")
    }

    @Test func `a child inherits no descriptor but the standard ones`() async throws {
        let leak = open("/dev/null", O_RDONLY)
        defer { close(leak) }
        let heard = Listener()
        // The pattern's own descriptor is in the list but closed before the loop looks.
        let script = "for f in /proc/$$/fd/*; do [ -e $f ] && echo ${f##*/}; done"
        _ = try await Processes.run(Shell.command(script), output: heard.take)
        #expect(heard.lines == ["0", "1", "2"])
    }

    @Test func `a child starts with no signal blocked or ignored`() async throws {
        signal(SIGUSR2, SIG_IGN)
        let heard = Listener()
        let command = Command(
            executable: "/bin/grep", arguments: ["-E", "^Sig(Blk|Ign)", "/proc/self/status"], directory: "/")
        _ = try await Processes.run(command, output: heard.take)
        #expect(heard.lines == ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"])
    }

    @Test func `a time limit ends a tree that ignores the polite signal`() async throws {
        let heard = Listener()
        let outcome = try await Processes.run(
            Shell.command("trap '' TERM; sleep 1000 & echo $!; echo $$; while :; do sleep 1000; done"),
            timeout: .milliseconds(300), grace: .milliseconds(100), output: heard.take)
        #expect(outcome.status == .timedOut)
        #expect(heard.numbers.count == 2)
        #expect(heard.numbers.allSatisfy(isGone))
    }

    @Test func `what a program says when asked to end is still heard`() async throws {
        let heard = Listener()
        let outcome = try await Processes.run(
            Shell.command("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"),
            timeout: .milliseconds(500), grace: .seconds(20), output: heard.take)
        #expect(outcome.status == .timedOut)
        #expect(heard.lines == ["ready", "bye"])
    }

    @Test func `a time limit kills although the consumer is stuck`() async throws {
        let stuck = Mutex<CheckedContinuation<Void, Never>?>(nil)
        let identity = Mutex<ProcessIdentity?>(nil)
        async let outcome = Processes.run(
            Shell.command("echo one; sleep 1000"), timeout: .milliseconds(200), grace: .zero,
            started: { started in identity.withLock { $0 = started } },
            output: { _ in await withCheckedContinuation { waiting in stuck.withLock { $0 = waiting } } })
        #expect(await eventually { stuck.withLock { $0 != nil } })
        #expect(await eventually { identity.withLock { $0.map { !Processes.isAlive($0) } ?? false } })
        stuck.withLock { $0 }?.resume()
        #expect(try await outcome.status == .timedOut)
    }

    @Test func `late output of a grandchild is not lost`() async throws {
        let heard = Listener()
        let outcome = try await Processes.run(
            Shell.command("(sleep 0.3; echo late) & echo early"), linger: .seconds(20), output: heard.take)
        #expect(outcome.isSuccess)
        #expect(heard.lines == ["early", "late"])
    }

    @Test(arguments: [true, false])
    func `a straggler holding the output is killed when its time is over`(isContained: Bool) async throws {
        let heard = Listener()
        let outcome = try await Processes.run(
            Shell.command("sleep 1000 & echo $!", isContained: isContained), linger: .milliseconds(50),
            output: heard.take)
        #expect(outcome.isSuccess)
        #expect(heard.numbers.count == 1 && heard.numbers.allSatisfy(isGone))
    }

    @Test(arguments: [true, false])
    func `no descendant survives, not even a double-forked one in its own session`(isContained: Bool) async throws {
        let heard = Listener(stopsAfterLines: 3)
        var command = Shell.command(
            """
            (setsid sh -c 'echo $$; exec >/dev/null 2>&1 </dev/null; while :; do sleep 1000; done' &)
            sleep 1000 & echo $!
            echo $$
            wait
            """, environment: Shell.environment.merging(["RUN": "run-\(getpid())-\(isContained)"]) { $1 },
            isContained: isContained)
        command.marker = "RUN"
        await #expect(throws: Listener.Heard.self) {
            try await Processes.run(command, timeout: .seconds(60), grace: .zero, output: heard.take)
        }
        #expect(heard.numbers.count == 3)
        #expect(heard.numbers.allSatisfy(isGone), "left: \(heard.numbers.filter { !isGone($0) })")
    }

    @Test(arguments: [true, false])
    func `a daemon left behind by a program that succeeded is ended too`(isContained: Bool) async throws {
        let heard = Listener()
        var command = Shell.command(
            """
            (setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1 </dev/null' &)
            """, environment: Shell.environment.merging(["RUN": "daemon-\(getpid())-\(isContained)"]) { $1 },
            isContained: isContained)
        command.marker = "RUN"
        let outcome = try await Processes.run(command, timeout: .seconds(60), output: heard.take)
        #expect(outcome.isSuccess)
        #expect(heard.numbers.count == 1 && heard.numbers.allSatisfy(isGone))
    }

    @Test func `cancellation ends the tree and rises`() async throws {
        let heard = Listener()
        let run = Task {
            try await Processes.run(
                Shell.command("sleep 1000 & echo $!; echo $$; wait"), grace: .zero, output: heard.take)
        }
        #expect(await eventually { heard.numbers.count == 2 })
        run.cancel()
        await #expect(throws: CancellationError.self) { try await run.value }
        #expect(heard.numbers.allSatisfy(isGone))
    }

    @Test func `an identity that could not be written down ends the run`() async throws {
        struct Unwritten: Error {}
        let identity = Mutex<ProcessIdentity?>(nil)
        await #expect(throws: Unwritten.self) {
            try await Processes.run(
                Shell.command("sleep 1000"),
                started: { started in
                    identity.withLock { $0 = started }
                    throw Unwritten()
                },
                output: { _ in })
        }
        let started = try #require(identity.withLock { $0 })
        #expect(isGone(started.pid))
    }

    @Test func `a run leaves no zombie and no cgroup`() async throws {
        let identity = Mutex<ProcessIdentity?>(nil)
        _ = try await Processes.run(
            Shell.command("true"), started: { started in identity.withLock { $0 = started } }, output: { _ in })
        let started = try #require(identity.withLock { $0 })
        #expect(ProcessEntry(pid: started.pid).map { $0.startTime != started.startTime } ?? true)
        if let cgroup = started.cgroup { #expect(access(cgroup, F_OK) != 0) }
    }

    @Test func `many runs at once all end well`() async throws {
        let count = 60
        let clock = ContinuousClock.now
        let good = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<count {
                group.addTask {
                    try await Processes.run(Shell.command("true"), timeout: .seconds(60)) { _ in }.isSuccess
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(good == count)
        print("processes: \(count) runs of a shell at once in \(ContinuousClock.now - clock)")
    }
}
