import CLinux
import Glibc
import Synchronization

/// A cgroup of our making: holds the tree of one command, whatever its processes do to leave.
struct Cgroup: Sendable {
    let folder: String

    private static let prefix = "processes-"
    /// How often an emptied cgroup is tried to be removed; the kernel takes a moment to let go of the dead.
    private static let removalTries = 50

    // MARK: Making

    private static let counter = Atomic<UInt64>(0)
    /// Our own cgroups, in the order of preference, found once.
    ///
    /// Others' leftovers are cleared on the way.
    private static let parents: [String] = {
        let found = hierarchies()
        found.forEach(clearLeftovers)
        return found
    }()

    /// Makes a cgroup below our own; nil where none may be made.
    static func make() -> Cgroup? {
        guard let own = ProcessIdentity.current else { return nil }
        let number = counter.wrappingAdd(1, ordering: .relaxed).newValue
        for parent in parents {
            let folder = "\(parent)/\(prefix)\(own.pid)-\(own.startTime)-\(number)"
            if mkdir(folder, 0o755) == 0 { return Cgroup(folder: folder) }
        }
        return nil
    }

    private init(folder: String) { self.folder = folder }

    /// The cgroup that an earlier life of ours made; nil when the path is not one that we would make.
    init?(written folder: String) {
        let parts = folder.split(separator: "/")
        guard folder.hasPrefix("/"), !parts.contains(".."), parts.last?.hasPrefix(Self.prefix) == true,
            access("\(folder)/cgroup.procs", F_OK) == 0
        else { return nil }
        self.folder = folder
    }

    // MARK: Using

    /// The descriptor by which a child enters; negative when it cannot be opened.
    func openEntrance() -> Int32 { clinux_open("\(folder)/cgroup.procs", O_WRONLY, 0) }

    /// Numbers of the processes inside, those in cgroups below included.
    func members() -> [Int32] {
        var found: [Int32] = []
        var queue = [folder]
        while let next = queue.popLast() {
            let text = ProcFile.text("\(next)/cgroup.procs", limit: 1 << 20) ?? ""
            found += text.split(separator: "\n").compactMap { Int32($0) }
            queue += Self.folders(in: next)
        }
        return found
    }

    /// Kills everything inside at once, forks under way included (Linux 5.14, version 2); false where there is no such.
    func kill() -> Bool { ProcFile.write("1", to: "\(folder)/cgroup.kill") }

    /// Removes the emptied cgroup and those that the command made below it.
    ///
    /// Blocks for some milliseconds at most.
    func remove() {
        for below in Self.folders(in: folder) { Cgroup(folder: below).remove() }
        for _ in 0..<Self.removalTries {
            if rmdir(folder) == 0 || errno != EBUSY { return }
            if !members().isEmpty { return }
            _ = clinux_poll(nil, 0, 1)
        }
    }

    private static func folders(in folder: String) -> [String] {
        ProcFile.names(in: folder).map { "\(folder)/\($0)" }.filter { path in
            var status = stat()
            return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
    }

    // MARK: Finding

    /// Folders of the cgroups we are in: version 2 first, then those of version 1 that only count or freeze.
    private static func hierarchies() -> [String] {
        let memberships = ProcFile.text("/proc/self/cgroup") ?? ""
        let mounts = ProcFile.text("/proc/self/mountinfo", limit: 1 << 20) ?? ""
        return hierarchies(memberships: memberships, mounts: mounts)
    }

    /// Pure part: lines of /proc/self/cgroup and /proc/self/mountinfo (proc(5), cgroups(7)) to folders.
    static func hierarchies(memberships: String, mounts: String) -> [String] {
        // Controller ("" is version 2) to our path in it.
        var paths: [String: String] = [:]
        for line in memberships.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) {
                paths[String(controller)] = String(fields[2])
            }
        }
        var found: [String: String] = [:]
        for line in mounts.split(separator: "\n") {
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let mount = halves[0].split(separator: " ")
            let system = halves[1].split(separator: " ")
            guard mount.count >= 5, system.count >= 3 else { continue }
            let controllers = system[0] == "cgroup2" ? [""] : system[2].split(separator: ",").map(String.init)
            guard system[0] == "cgroup2" || system[0] == "cgroup" else { continue }
            for controller in controllers {
                guard let path = paths[controller], let inside = relative(path, to: String(mount[3])) else { continue }
                found[controller] = String(mount[4]) + inside
            }
        }
        return ["", "pids", "freezer"].compactMap { found[$0] }
    }

    /// The part of a cgroup's path below the root of a mount; nil when it lies outside.
    private static func relative(_ path: String, to root: String) -> String? {
        guard !path.split(separator: "/").contains("..") else { return nil }
        if root == "/" { return path == "/" ? "" : path }
        if path == root { return "" }
        return path.hasPrefix(root + "/") ? String(path.dropFirst(root.count)) : nil
    }

    /// Removes empty cgroups whose maker is dead.
    ///
    /// Those in which something lives refuse, and wait for their adopter.
    private static func clearLeftovers(in parent: String) {
        for name in ProcFile.names(in: parent) where name.hasPrefix(prefix) {
            let numbers = name.dropFirst(prefix.count).split(separator: "-").compactMap { UInt64($0) }
            guard numbers.count == 3, let pid = Int32(exactly: numbers[0]) else { continue }
            let maker = ProcessIdentity(pid: pid, startTime: numbers[1], bootID: ProcessIdentity.currentBootID)
            if !Processes.isAlive(maker) { _ = rmdir("\(parent)/\(name)") }
        }
    }
}
