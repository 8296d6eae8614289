import Foundation
import Glibc
import Processes
import Testing

@testable import struct Processes.Cgroup
@testable import struct Processes.ProcessEntry

@Suite(.timeLimit(.minutes(2))) struct StartTests {
    @Test func `a started program is found again by its identity alone`() async throws {
        let process = try await Processes.start(Shell.command("exec sleep 1000", output: .discard))
        let written = try roundTrip(process.identity)
        #expect(written == process.identity)
        #expect(Processes.isAlive(written))
        await Processes.terminate(written, grace: .seconds(20))
        #expect(!Processes.isAlive(written))
        #expect(try await process.wait() == .signalled(SIGTERM))
        // Twice is once.
        await Processes.terminate(written, grace: .seconds(20))
    }

    @Test(arguments: [true, false])
    func `an adopted tree is ended although its leader is gone`(isContained: Bool) async throws {
        let folder = try Folder()
        var command = Shell.command(
            "sleep 1000 & echo $!", environment: Shell.environment.merging(["RUN": "adopted-\(isContained)"]) { $1 },
            output: .file("\(folder.path)/log"), isContained: isContained)
        command.marker = "RUN"
        let identity: ProcessIdentity
        do {
            let process = try await Processes.start(command)
            _ = try await process.wait()
            identity = process.identity
        }
        // The handle is dropped, so the zombie is reaped: only what was written down is left.
        let straggler = try #require(Int32(folder.read("log").filter(\.isNumber)))
        #expect(!isGone(straggler))
        await Processes.terminate(identity, grace: .seconds(20))
        #expect(isGone(straggler))
    }

    @Test func `a stranger with the same number is left alone`() async throws {
        let process = try await Processes.start(Shell.command("exec sleep 1000", output: .discard))
        let identity = process.identity
        let strangers = [
            ProcessIdentity(pid: identity.pid, startTime: identity.startTime - 1, bootID: identity.bootID),
            ProcessIdentity(pid: identity.pid, startTime: identity.startTime, bootID: "another boot"),
        ]
        for stranger in strangers {
            #expect(!Processes.isAlive(stranger))
            #expect(Processes.residentBytes(stranger) == nil)
            await Processes.terminate(stranger, grace: .zero)
        }
        #expect(Processes.isAlive(identity))
        await process.terminate(grace: .zero)
        #expect(try await process.wait() == .signalled(SIGKILL))
    }

    @Test(arguments: [true, false])
    func `terminating ends workers that outlived their leader`(isContained: Bool) async throws {
        let folder = try Folder()
        let process = try await Processes.start(
            Shell.command(
                "trap 'exit 0' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & echo $!; wait",
                output: .file("\(folder.path)/log"), isContained: isContained))
        #expect(await eventually { folder.read("log").hasSuffix("\n") })
        let worker = try #require(Int32(folder.read("log").filter(\.isNumber)))
        await process.terminate(grace: .milliseconds(100))
        #expect(isGone(worker))
        #expect(!Processes.isAlive(process.identity))
    }

    @Test func `a signal reaches the group`() async throws {
        let folder = try Folder()
        let process = try await Processes.start(
            Shell.command(
                "trap 'echo heard; exit 7' USR1; echo ready; while :; do sleep 0.01; done",
                output: .file("\(folder.path)/log")))
        #expect(await eventually { folder.read("log") == "ready\n" })
        process.signal(SIGUSR1)
        // The sleeping child dies of it, and the shell hears it.
        #expect(try await process.wait() == .exited(7))
        #expect(folder.read("log").hasSuffix("heard\n"))
    }

    @Test func `waiting can be given up without harm`() async throws {
        let process = try await Processes.start(Shell.command("exec sleep 1000", output: .discard))
        let waiting = Task { try await process.wait() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        #expect(Processes.isAlive(process.identity))
        await process.terminate(grace: .zero)
    }

    @Test func `memory and processor time are those of the whole family`() async throws {
        let process = try await Processes.start(
            Shell.command("(while :; do :; done) & wait", output: .discard))
        let identity = process.identity
        #expect(await eventually { (Processes.cpuTime(identity) ?? .zero) >= .milliseconds(50) })
        #expect(Processes.residentBytes(identity) ?? 0 > 100_000)
        await process.terminate(grace: .zero)
        #expect(Processes.cpuTime(identity) == nil)
    }

    @Test func `limits are what the program sees`() async throws {
        let heard = Listener()
        var command = Shell.command("ulimit -n; ulimit -v; ulimit -c; ulimit -t")
        command.limits = ProcessLimits(addressSpaceBytes: 512 << 20, cpuSeconds: 9, openFiles: 77)
        _ = try await Processes.run(command, output: heard.take)
        #expect(heard.lines == ["77", "\((512 << 20) / 1024)", "0", "9"])
    }

    @Test func `a program beyond its processor time is killed`() async throws {
        var command = Shell.command("while :; do :; done")
        command.limits.cpuSeconds = 1
        let outcome = try await Processes.run(command, timeout: .seconds(60)) { _ in }
        #expect(outcome.status == .signalled(SIGKILL))
        // The kernel counts ticks for the limit and true time for the bill: they differ by some tenths.
        #expect(outcome.cpuTime >= .milliseconds(500))
    }

    @Test func `a dropped handle leaves neither a zombie nor an empty cgroup`() async throws {
        let identity: ProcessIdentity
        do {
            let process = try await Processes.start(Shell.command("exit 4", output: .discard))
            identity = process.identity
            #expect(try await process.wait() == .exited(4))
        }
        #expect(await eventually { ProcessEntry(pid: identity.pid).map { $0.startTime != identity.startTime } ?? true })
        if let cgroup = identity.cgroup { #expect(await eventually { access(cgroup, F_OK) != 0 }) }
    }

    @Test(arguments: [true, false])
    func `a group or a session of its own is given as asked`(ownSession: Bool) async throws {
        var command = Shell.command("exec sleep 1000", output: .discard)
        command.ownSession = ownSession
        let process = try await Processes.start(command)
        let entry = try #require(ProcessEntry(pid: process.identity.pid))
        #expect(entry.group == entry.pid)
        #expect((entry.session == entry.pid) == ownSession)
        await process.terminate(grace: .zero)
    }

    #if arch(x86_64)
    private static let prctlNumber = 157
    #else
    private static let prctlNumber = 167
    #endif

    @Test(.enabled(if: access("/usr/bin/perl", X_OK) == 0), arguments: [(true, "9"), (false, "0")])
    func `a program dies with us when asked`(dieWithParent: Bool, signal: String) async throws {
        let heard = Listener()
        // PR_GET_PDEATHSIG is 2 (prctl(2)).
        let script = "my $s = pack('i', 0); syscall(\(Self.prctlNumber), 2, $s, 0, 0, 0); print unpack('i', $s)"
        let command = Command(
            executable: "/usr/bin/perl", arguments: ["-e", script], directory: "/", dieWithParent: dieWithParent)
        _ = try await Processes.run(command, output: heard.take)
        #expect(heard.output == signal)
    }

    private func roundTrip(_ identity: ProcessIdentity) throws -> ProcessIdentity {
        try JSONDecoder().decode(ProcessIdentity.self, from: JSONEncoder().encode(identity))
    }
}

struct KernelFileTests {
    @Test func `a name with brackets does not shift the fields`() throws {
        let fields = (4...24).map { "\($0)" }.joined(separator: " ")
        let entry = try #require(ProcessEntry(pid: 3, stat: Array("3 (a) R 1 (b)) S \(fields)\n".utf8)))
        #expect(entry.state == UInt8(ascii: "S"))
        #expect((entry.parent, entry.group, entry.session) == (4, 5, 6))
        #expect(entry.startTime == 22)
        #expect(ProcessEntry(pid: 3, stat: Array("nonsense".utf8)) == nil)
        #expect(ProcessEntry(pid: 3, stat: Array("3 (a) S 1".utf8)) == nil)
    }

    @Test(
        arguments: [
            // Version 2 alone, as on a current server.
            (
                "0::/system.slice/vagus.service", "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
                ["/sys/fs/cgroup/system.slice/vagus.service"]
            ),
            // Hybrid: version 2 first, then those of version 1 that do no more than hold.
            (
                "4:memory:/a\n8:pids:/\n6:freezer:/\n0::/",
                """
                41 40 0:36 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
                42 40 0:37 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
                43 40 0:38 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
                44 40 0:39 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
                """, ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/freezer"]
            ),
            // A container that mounts its own part only.
            (
                "0::/docker/abc/inner", "30 1 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw",
                ["/sys/fs/cgroup/inner"]
            ),
            // Outside of what is mounted.
            ("0::/../other", "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw", []),
            ("", "", []),
        ] as [(String, String, [String])])
    func `our own cgroups are found among the mounts`(memberships: String, mounts: String, expected: [String]) {
        #expect(CgroupPlaces(memberships: memberships, mounts: mounts).containing == expected)
    }

    @Test func `only a cgroup of our making is taken for one`() {
        #expect(Cgroup(written: "/sys/fs/cgroup/unified") == nil)
        #expect(Cgroup(written: "/sys/fs/cgroup/../cgroup/processes-1-2-3") == nil)
        #expect(Cgroup(written: "processes-1-2-3") == nil)
    }
}
