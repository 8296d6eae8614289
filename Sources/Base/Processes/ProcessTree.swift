import CLinux
import Glibc
import Synchronization

/// All that a command has brought into the world and that still runs.
///
/// Its methods block: for the sweeper's thread.
///
/// A number is only ever signalled while it is proven to be ours. The group's number cannot be used again as long as a
/// process of the group is there, so one member known from before proves the rest, even after the leader is gone.
final class ProcessTree: Sendable {
    let identity: ProcessIdentity
    let cgroup: Cgroup?
    /// SIGTERM spares the leader, which would end the others at once.
    private let isWrapped: Bool
    private let known = Mutex<[ProcessEntry]>([])

    /// Rounds of looking and killing before what will not die (it hangs in the kernel) is left alone.
    private static let killingRounds = 40
    private static let roundMilliseconds: Int32 = 50
    /// Descriptors polled at once while the killed go.
    private static let polledAtOnce = 64

    init(_ identity: ProcessIdentity, isWrapped: Bool = false) {
        self.identity = identity
        self.isWrapped = isWrapped
        let written = identity.cgroup.flatMap(Cgroup.init(written:))
        // Killing a cgroup that we sit in ourselves would be the last thing we do.
        cgroup = written?.members().contains(ProcessEntry.ownPID) == true ? nil : written
    }

    /// What still runs, zombies left out.
    ///
    /// Remembered as proof for the next look.
    func living() -> [ProcessEntry] {
        let entries: [ProcessEntry]
        if let cgroup {
            entries = cgroup.members().compactMap(ProcessEntry.init(pid:)).filter { $0.pid != ProcessEntry.ownPID }
        } else {
            entries = search()
        }
        let living = entries.filter { !$0.hasEnded }
        known.withLock { $0 = living }
        return living
    }

    /// Asks everything in the tree, politely; a stopped process is woken to hear it.
    func signal(_ number: Int32) {
        let living = living()
        if isWrapped {
            for entry in living where entry.pid != identity.pid { entry.signal(number) }
        } else {
            let isGroupOurs = isGroupOurs(among: living)
            if isGroupOurs { _ = Glibc.kill(-identity.pid, number) }
            for entry in living where !isGroupOurs || entry.group != identity.pid { entry.signal(number) }
        }
        guard number == SIGTERM else { return }
        for entry in living where entry.state == UInt8(ascii: "T") { entry.signal(SIGCONT) }
    }

    /// Kills everything in the tree and returns when nothing of it runs, or after two seconds at most.
    func kill() {
        for _ in 0..<Self.killingRounds {
            let isKilledWhole = cgroup?.kill() ?? false
            let living = living()
            if living.isEmpty { return }
            if !isKilledWhole {
                if isGroupOurs(among: living) { _ = Glibc.kill(-identity.pid, SIGKILL) }
                living.forEach { $0.signal(SIGKILL) }
            }
            awaitEnd(of: living)
        }
    }

    /// Waits shortly until the killed are gone.
    private func awaitEnd(of entries: [ProcessEntry]) {
        var handles = entries.prefix(Self.polledAtOnce).map { clinux_pidfd_open($0.pid) }.filter { $0 >= 0 }
        defer { handles.forEach { close($0) } }
        while let last = handles.last {
            guard clinux_poll([last], 1, Self.roundMilliseconds) > 0 else { return }
            close(last)
            handles.removeLast()
        }
    }

    /// True while the number of the group is proven to be that of our command.
    private func isGroupOurs(among entries: [ProcessEntry]) -> Bool {
        if let leader = ProcessEntry(pid: identity.pid) { return leader.startTime == identity.startTime }
        return known.withLock { known in
            known.contains { old in
                old.group == identity.pid
                    && entries.contains { $0.pid == old.pid && $0.startTime == old.startTime && $0.group == old.group }
            }
        }
    }

    /// Members by group, session, marker and descent, from the whole of /proc.
    private func search() -> [ProcessEntry] {
        let all = ProcessEntry.all().filter { $0.pid != ProcessEntry.ownPID && $0.pid != 1 }
        let isGroupOurs = isGroupOurs(among: all)
        var found = Set<Int32>()
        for entry in all where entry.startTime >= identity.startTime {
            let isMember = isGroupOurs && (entry.group == identity.pid || entry.session == identity.pid)
            if isMember || (identity.marker.map(entry.carries) ?? false) { found.insert(entry.pid) }
        }
        if isGroupOurs { found.insert(identity.pid) }
        // Start times only grow from parent to child, yet numbers do not: repeat until nothing is added.
        var hasGrown = true
        while hasGrown {
            hasGrown = false
            for entry in all where found.contains(entry.parent) && entry.startTime >= identity.startTime {
                if found.insert(entry.pid).inserted { hasGrown = true }
            }
        }
        return all.filter { found.contains($0.pid) }
    }
}
