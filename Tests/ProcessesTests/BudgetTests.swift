import Glibc
import Testing

@testable import Processes

@Suite struct BudgetTests {
    /// Files as a cgroup of version 2 has them, in a plain folder.
    private func fakeVersionTwo(controllers: String, enabled: String = "", members: String = "") throws -> Folder {
        let folder = try Folder()
        write(controllers, to: "\(folder.path)/cgroup.controllers")
        write(enabled, to: "\(folder.path)/cgroup.subtree_control")
        write(members, to: "\(folder.path)/cgroup.procs")
        return folder
    }

    private func write(_ text: String, to path: String) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        _ = text.withCString { Glibc.write(file, $0, strlen($0)) }
        close(file)
    }

    @Test func `version 2 is told memory, swap, quota and processes`() {
        let budget = ResourceBudget(memoryBytes: 1 << 20, cpus: 1.5, processes: 7)
        let told = budget.bounds.flatMap { budget.settings(for: $0, version: .two) }.map { "\($0.file)=\($0.value)" }
        #expect(told == ["memory.max=1048576", "memory.swap.max=0", "cpu.max=150000 100000", "pids.max=7"])
    }

    @Test func `version 1 is told the same in its own words`() {
        let budget = ResourceBudget(memoryBytes: 1 << 20, cpus: 0.2, processes: 7)
        let told = budget.bounds.flatMap { budget.settings(for: $0, version: .one) }.map { "\($0.file)=\($0.value)" }
        #expect(
            told == [
                "memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=1048576", "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=20000", "pids.max=7",
            ])
    }

    @Test func `a controller of version 2 is enabled for the children before it is used`() throws {
        let folder = try fakeVersionTwo(controllers: "cpu memory pids\n")
        let places = CgroupPlaces(unified: folder.path)
        let place = try #require(places.place(for: .memory))
        #expect(place.folder == folder.path && place.version == .two)
        #expect(ProcFile.text("\(folder.path)/cgroup.subtree_control") == "+memory")
    }

    @Test func `a controller that is not there holds nothing`() throws {
        let folder = try fakeVersionTwo(controllers: "hugetlb\n")
        #expect(CgroupPlaces(unified: folder.path).place(for: .memory) == nil)
        #expect(CgroupPlaces().place(for: .pids) == nil)
    }

    @Test func `version 1 comes first where it has the controller`() throws {
        let (two, one) = (try fakeVersionTwo(controllers: "memory\n"), try Folder())
        let place = CgroupPlaces(unified: two.path, single: ["memory": one.path]).place(for: .memory)
        #expect(place?.folder == one.path && place?.version == .one)
    }

    @Test func `what the kernel did is read from either version`() throws {
        let folder = try Folder()
        write("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", to: "\(folder.path)/memory.oom_control")
        write("max 5\n", to: "\(folder.path)/pids.events")
        var findings = BudgetFindings()
        findings.read(folder.path)
        #expect(findings == BudgetFindings(memoryKills: 2, refusedProcesses: 5))
        write("low 0\nhigh 0\nmax 9\noom 3\noom_kill 4\n", to: "\(folder.path)/memory.events")
        write("", to: "\(folder.path)/memory.oom_control")
        findings.read(folder.path)
        #expect(findings.memoryKills == 4)
    }

    private static let holdsAll = Processes.bounds == ResourceBudget.Bound.allCases

    @Test(.enabled(if: holdsAll, "no cgroup with memory, cpu and pids may be made here"))
    func `memory, processor time and processes are held, and nothing is left behind`() async throws {
        var command = Shell.command("sleep 300 & cat /proc/self/cgroup; head -c 200000000 /dev/zero | tail")
        command.budget = ResourceBudget(memoryBytes: 32 << 20, cpus: 0.5, processes: 50)
        let heard = Listener()
        let outcome = try await Processes.run(command, output: heard.take)
        #expect(outcome.findings.memoryKills > 0 && !outcome.isSuccess)
        let paths = heard.lines.filter { $0.contains("processes-") }
        #expect(
            paths.contains { $0.contains("memory") } || paths.contains { $0.contains(":0::") || $0.hasPrefix("0::") })
        let name = try #require(paths.first?.split(separator: "/").last)
        #expect(!CgroupPlaces.system.all.contains { access("\($0)/\(name)", F_OK) == 0 })
    }

    @Test(.enabled(if: holdsAll, "no cgroup with memory, cpu and pids may be made here"))
    func `a fork bomb runs into its bound and dies with its command`() async throws {
        var command = Shell.command("bomb() { bomb | bomb & }; bomb; sleep 300")
        command.budget = ResourceBudget(processes: 40)
        let outcome = try await Processes.run(
            command, timeout: .milliseconds(700), grace: .zero, output: { _ in })
        #expect(outcome.status == .timedOut || !outcome.isSuccess)
        #expect(outcome.findings.refusedProcesses > 0)
    }

    @Test func `a bound is never above the one that we stand under`() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let limits = ProcessLimits(openFiles: .max)
        let told = try #require(limits.resources.first { $0.resource == Int32(RLIMIT_NOFILE.rawValue) })
        #expect(told.value == UInt64(limit.rlim_max))
    }

    @Test(.enabled(if: ProcessUser.canSwitch, "only root may run commands as others"))
    func `a command runs as the user that was named, with its groups and no others`() async throws {
        var command = Shell.command("id -u; id -g; id -G; cat /proc/self/status | grep CapEff")
        command.user = try ProcessUser(named: "nobody")
        let heard = Listener()
        let outcome = try await Processes.run(command, output: heard.take)
        #expect(outcome.isSuccess)
        #expect(heard.lines.prefix(3) == ["65534", "65534", "65534"])
        #expect(heard.lines.last?.hasSuffix("0000000000000000") ?? false)
    }

    @Test func `a user that is not there is told`() {
        #expect(throws: ProcessError.self) { try ProcessUser(named: "no-such-user") }
    }

    @Test func `a wrapper is spared when its children are asked to end`() async throws {
        let folder = try Folder()
        var command = Shell.command(
            "sh -c 'trap \"exit 7\" TERM; echo ready; while :; do sleep 0.02; done'; echo $? > \(folder.path)/code")
        command.isWrapper = true
        let heard = Listener(stopsAfterLines: 1)
        await #expect(throws: Listener.Heard.self) {
            try await Processes.run(command, grace: .seconds(20), output: heard.take)
        }
        #expect(ProcFile.text("\(folder.path)/code") == "7\n")
    }
}
