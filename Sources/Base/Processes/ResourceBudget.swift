import Glibc

/// What a command and all that it starts may take together; nil leaves a thing unbounded.
///
/// Held by the kernel through cgroups, version 1 or 2, whichever has the controller.
package struct ResourceBudget: Sendable, Equatable {
    /// Bytes of memory, swap included; beyond it the kernel kills in the tree.
    package var memoryBytes: UInt64?
    /// Processors' worth of time: 0.5 is half of one.
    package var cpus: Double?
    /// Processes and threads at once; starting one more fails.
    package var processes: UInt64?

    package init(memoryBytes: UInt64? = nil, cpus: Double? = nil, processes: UInt64? = nil) {
        (self.memoryBytes, self.cpus, self.processes) = (memoryBytes, cpus, processes)
    }

    /// The kinds of bound, by the name of the controller that holds it.
    package enum Bound: String, Sendable, CaseIterable {
        case memory, cpu, pids
    }

    package var bounds: [Bound] {
        var bounds: [Bound] = []
        if memoryBytes != nil { bounds.append(.memory) }
        if cpus != nil { bounds.append(.cpu) }
        if processes != nil { bounds.append(.pids) }
        return bounds
    }

    /// Only some of the bounds.
    package func only(_ bounds: [Bound]) -> ResourceBudget {
        ResourceBudget(
            memoryBytes: bounds.contains(.memory) ? memoryBytes : nil, cpus: bounds.contains(.cpu) ? cpus : nil,
            processes: bounds.contains(.pids) ? processes : nil)
    }

    /// Length of the accounting period of processor time, the kernel's own default.
    private static let periodMicroseconds: UInt64 = 100_000
    /// The kernel takes no smaller quota.
    private static let leastQuotaMicroseconds: UInt64 = 1000

    private func quota(_ cpus: Double) -> UInt64 {
        max(Self.leastQuotaMicroseconds, UInt64(max(0, min(cpus, 1e6)) * Double(Self.periodMicroseconds)))
    }

    /// Files of a cgroup and what is written into them, in order; those that not every kernel has are optional.
    func settings(for bound: Bound, version: CgroupVersion) -> [(file: String, value: String, isOptional: Bool)] {
        switch (bound, version) {
        case (.memory, .one):
            guard let memoryBytes else { return [] }
            // The sum of memory and swap is there only where swap is accounted for.
            return [
                ("memory.limit_in_bytes", "\(memoryBytes)", false),
                ("memory.memsw.limit_in_bytes", "\(memoryBytes)", true),
            ]
        case (.memory, .two):
            guard let memoryBytes else { return [] }
            return [("memory.max", "\(memoryBytes)", false), ("memory.swap.max", "0", true)]
        case (.cpu, .one):
            guard let cpus else { return [] }
            return [
                ("cpu.cfs_period_us", "\(Self.periodMicroseconds)", false),
                ("cpu.cfs_quota_us", "\(quota(cpus))", false),
            ]
        case (.cpu, .two):
            guard let cpus else { return [] }
            return [("cpu.max", "\(quota(cpus)) \(Self.periodMicroseconds)", false)]
        case (.pids, _):
            guard let processes else { return [] }
            return [("pids.max", "\(processes)", false)]
        }
    }
}

enum CgroupVersion: Sendable {
    case one, two
}

/// What the kernel has done to keep a budget, read before the cgroup is removed.
package struct BudgetFindings: Sendable, Equatable {
    /// Processes killed since the tree used more memory than it may.
    package var memoryKills = 0
    /// Starts of processes that were refused.
    package var refusedProcesses = 0

    package init(memoryKills: Int = 0, refusedProcesses: Int = 0) {
        (self.memoryKills, self.refusedProcesses) = (memoryKills, refusedProcesses)
    }

    /// Adds what one folder of a cgroup tells; files that are not there tell nothing.
    mutating func read(_ folder: String) {
        let kills = ["memory.events", "memory.oom_control"].map { Self.count("oom_kill", in: "\(folder)/\($0)") }
        memoryKills = max(memoryKills, kills.reduce(0, +))
        refusedProcesses = max(refusedProcesses, Self.count("max", in: "\(folder)/pids.events"))
    }

    /// The number behind a word in a file of `word number` lines.
    private static func count(_ word: String, in path: String) -> Int {
        for line in (ProcFile.text(path) ?? "").split(separator: "\n") {
            let parts = line.split(separator: " ")
            if parts.count == 2, parts[0] == word { return Int(parts[1]) ?? 0 }
        }
        return 0
    }
}

/// Where cgroups of ours may be made.
struct CgroupPlaces: Sendable, Equatable {
    /// Our own folder in version 2, if it is mounted.
    var unified: String?
    /// Our own folders in version 1, by controller.
    var single: [String: String] = [:]

    /// Folders that only hold processes together, in the order of preference.
    var containing: [String] { [unified, single["pids"], single["freezer"]].compactMap { $0 } }
    /// Every folder below which something of ours may lie.
    var all: [String] { containing + ["memory", "cpu"].compactMap { single[$0] } }

    /// The system's, found once; what dead makers have left is cleared on the way.
    static let system: CgroupPlaces = {
        let memberships = ProcFile.text("/proc/self/cgroup") ?? ""
        let mounts = ProcFile.text("/proc/self/mountinfo", limit: 1 << 20) ?? ""
        let places = CgroupPlaces(memberships: memberships, mounts: mounts)
        places.all.forEach(Cgroup.clearLeftovers)
        return places
    }()

    init(unified: String? = nil, single: [String: String] = [:]) {
        (self.unified, self.single) = (unified, single)
    }

    /// Pure: lines of /proc/self/cgroup and /proc/self/mountinfo (proc(5), cgroups(7)) to folders.
    init(memberships: String, mounts: String) {
        // Controller ("" is version 2) to our path in it.
        var paths: [String: String] = [:]
        for line in memberships.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) {
                paths[String(controller)] = String(fields[2])
            }
        }
        for line in mounts.split(separator: "\n") {
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let mount = halves[0].split(separator: " ")
            let system = halves[1].split(separator: " ")
            guard mount.count >= 5, system.count >= 3 else { continue }
            let controllers = system[0] == "cgroup2" ? [""] : system[2].split(separator: ",").map(String.init)
            guard system[0] == "cgroup2" || system[0] == "cgroup" else { continue }
            for controller in controllers {
                guard let path = paths[controller], let inside = Self.relative(path, to: String(mount[3])) else {
                    continue
                }
                let folder = String(mount[4]) + inside
                if controller.isEmpty { unified = folder } else { single[controller] = folder }
            }
        }
    }

    /// The part of a cgroup's path below the root of a mount; nil when it lies outside.
    private static func relative(_ path: String, to root: String) -> String? {
        guard !path.split(separator: "/").contains("..") else { return nil }
        if root == "/" { return path == "/" ? "" : path }
        if path == root { return "" }
        return path.hasPrefix(root + "/") ? String(path.dropFirst(root.count)) : nil
    }

    /// Where a bound can be held: the parent folder and its version; nil where nothing can.
    func place(for bound: ResourceBudget.Bound) -> (folder: String, version: CgroupVersion)? {
        if let folder = single[bound.rawValue], access(folder, W_OK) == 0 { return (folder, .one) }
        guard let unified, access(unified, W_OK) == 0,
            Self.words("\(unified)/cgroup.controllers").contains(bound.rawValue),
            enable(bound, in: unified)
        else { return nil }
        return (unified, .two)
    }

    private static func words(_ path: String) -> [String] {
        (ProcFile.text(path) ?? "").split { $0 == " " || $0 == "\n" }.map(String.init)
    }

    /// Lets the children of our own cgroup have a controller.
    ///
    /// Version 2 refuses that while processes sit in the cgroup itself ("no internal processes", cgroups(7)). Where we
    /// are the only ones in there, as in a delegated unit, we move down into a leaf first.
    private func enable(_ bound: ResourceBudget.Bound, in folder: String) -> Bool {
        let control = "\(folder)/cgroup.subtree_control"
        if Self.words(control).contains(bound.rawValue) { return true }
        if ProcFile.write("+\(bound.rawValue)", to: control) { return true }
        let inside = Self.words("\(folder)/cgroup.procs").compactMap { Int32($0) }
        guard inside == [ProcessEntry.ownPID] else { return false }
        let leaf = "\(folder)/supervisor"
        guard mkdir(leaf, 0o755) == 0 || errno == EEXIST, ProcFile.write("0", to: "\(leaf)/cgroup.procs") else {
            return false
        }
        return ProcFile.write("+\(bound.rawValue)", to: control)
    }
}
