import CLinux
import Glibc
import Synchronization

/// A cgroup of our making: holds the tree of one command, whatever its processes do to leave.
struct Cgroup: Sendable {
    let folder: String
    /// Folders that bound the tree and that a child must get into; `folder` itself may be one.
    private(set) var bounding: [String] = []

    private static let prefix = "processes-"
    /// How often an emptied cgroup is tried to be removed; the kernel takes a moment to let go of the dead.
    private static let removalTries = 50

    // MARK: Making

    private static let counter = Atomic<UInt64>(0)

    /// Makes a cgroup below our own; nil where none may be made.
    ///
    /// A budget that cannot be held is an error: it is asked before with ``Processes/bounds``.
    static func make(
        _ budget: ResourceBudget? = nil, in places: CgroupPlaces = .system
    ) throws(ProcessError) -> Cgroup? {
        guard let own = ProcessIdentity.current else { return nil }
        let number = counter.wrappingAdd(1, ordering: .relaxed).newValue
        let name = "\(prefix)\(own.pid)-\(own.startTime)-\(number)"
        guard let parent = places.containing.first(where: { mkdir("\($0)/\(name)", 0o755) == 0 }) else {
            guard budget?.bounds.isEmpty ?? true else { throw unheld("any", EACCES) }
            return nil
        }
        var cgroup = Cgroup(folder: "\(parent)/\(name)")
        do throws(ProcessError) {
            for bound in budget?.bounds ?? [] { try cgroup.hold(bound, of: budget, in: places) }
        } catch {
            cgroup.remove(from: places)
            throw error
        }
        return cgroup
    }

    private mutating func hold(
        _ bound: ResourceBudget.Bound, of budget: ResourceBudget?, in places: CgroupPlaces
    ) throws(ProcessError) {
        guard let budget, let place = places.place(for: bound) else { throw Self.unheld(bound.rawValue, EACCES) }
        let target = "\(place.folder)/\(name)"
        guard mkdir(target, 0o755) == 0 || errno == EEXIST else { throw Self.unheld(bound.rawValue, errno) }
        for (file, value, isOptional) in budget.settings(for: bound, version: place.version) {
            guard ProcFile.write(value, to: "\(target)/\(file)") || isOptional else {
                throw Self.unheld(bound.rawValue, errno)
            }
        }
        if !bounding.contains(target) { bounding.append(target) }
    }

    private static func unheld(_ bound: String, _ number: Int32) -> ProcessError {
        ProcessError(
            .limit, "could not hold the bound of \(bound): \(ProcessError.text(of: number))",
            hint: "Let this user write to its cgroup (with systemd: Delegate=yes), or ask for no bound.")
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

    private var name: Substring { folder.split(separator: "/").last ?? "" }

    /// The same cgroup in the hierarchies of other controllers.
    private func siblings(_ places: CgroupPlaces) -> [String] {
        guard name.hasPrefix(Self.prefix) else { return [] }
        return places.all.map { "\($0)/\(name)" }.filter { $0 != folder }
    }

    // MARK: Using

    /// The descriptor by which a child enters; negative when it cannot be opened.
    func openEntrance() -> Int32 { clinux_open("\(folder)/cgroup.procs", O_WRONLY, 0) }

    /// The descriptors of the folders that bound it.
    func openBounds() throws(ProcessError) -> [Int32] {
        var open: [Int32] = []
        for folder in bounding {
            let entrance = clinux_open("\(folder)/cgroup.procs", O_WRONLY, 0)
            guard entrance >= 0 else {
                open.forEach { close($0) }
                throw Self.unheld("any", -entrance)
            }
            open.append(entrance)
        }
        return open
    }

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

    /// What the kernel has done to keep the budget so far.
    func findings(_ places: CgroupPlaces = .system) -> BudgetFindings {
        var findings = BudgetFindings()
        for folder in [folder] + siblings(places) { findings.read(folder) }
        return findings
    }

    /// Removes the emptied cgroup and those that the command made below it.
    ///
    /// Blocks for some milliseconds at most.
    func remove(from places: CgroupPlaces = .system) {
        for below in Self.folders(in: folder) { Cgroup(folder: below).remove(from: places) }
        for target in [folder] + siblings(places) {
            for _ in 0..<Self.removalTries {
                if rmdir(target) == 0 || errno != EBUSY { break }
                if !members().isEmpty { return }
                _ = clinux_poll(nil, 0, 1)
            }
        }
    }

    /// Removes it if it is empty, without waiting.
    func removeIfEmpty() {
        guard rmdir(folder) == 0 || errno == ENOENT else { return }
        for sibling in siblings(.system) { rmdir(sibling) }
    }

    private static func folders(in folder: String) -> [String] {
        var status = stat()
        // A link for each folder beside the two of its own: dozens of files are not looked at where there is none.
        guard lstat(folder, &status) == 0, status.st_nlink > 2 else { return [] }
        return ProcFile.names(in: folder).map { "\(folder)/\($0)" }.filter { path in
            lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
    }

    /// Removes empty cgroups whose maker is dead.
    ///
    /// Those in which something lives refuse, and wait for their adopter.
    static func clearLeftovers(in parent: String) {
        for name in ProcFile.names(in: parent) where name.hasPrefix(prefix) {
            let numbers = name.dropFirst(prefix.count).split(separator: "-").compactMap { UInt64($0) }
            guard numbers.count == 3, let pid = Int32(exactly: numbers[0]) else { continue }
            let maker = ProcessIdentity(pid: pid, startTime: numbers[1], bootID: ProcessIdentity.currentBootID)
            if !Processes.isAlive(maker) { _ = rmdir("\(parent)/\(name)") }
        }
    }
}
