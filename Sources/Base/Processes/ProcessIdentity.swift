/// Which process, beyond doubt: numbers are used again, but never with the same start time in the same boot.
///
/// Survives a restart of ours when written down. Equality counts the three proofs only, not the two aids.
package struct ProcessIdentity: Sendable, Codable, Hashable {
    package let pid: Int32
    /// Clock ticks since boot: field 22 of `/proc/<pid>/stat` (proc(5)).
    package let startTime: UInt64
    /// `/proc/sys/kernel/random/boot_id`.
    package let bootID: String
    /// Folder of the cgroup made for the tree, when there is one.
    package let cgroup: String?
    /// `NAME=value` that descendants carry in their environment, when one was given.
    package let marker: String?

    package init(pid: Int32, startTime: UInt64, bootID: String, cgroup: String? = nil, marker: String? = nil) {
        self.pid = pid
        self.startTime = startTime
        self.bootID = bootID
        self.cgroup = cgroup
        self.marker = marker
    }

    private enum CodingKeys: String, CodingKey {
        case pid
        case startTime = "start_time"
        case bootID = "boot_id"
        case cgroup
        case marker
    }

    package static func == (left: ProcessIdentity, right: ProcessIdentity) -> Bool {
        left.pid == right.pid && left.startTime == right.startTime && left.bootID == right.bootID
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(pid)
        hasher.combine(startTime)
        hasher.combine(bootID)
    }

    /// The boot we live in; empty when the kernel does not tell.
    static let currentBootID: String = {
        let bytes = ProcFile.read("/proc/sys/kernel/random/boot_id", limit: 64) ?? []
        return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
    }()

    /// The identity of the process that runs this code.
    package static var current: ProcessIdentity? {
        guard let entry = ProcessEntry(pid: ProcessEntry.ownPID) else { return nil }
        return ProcessIdentity(pid: entry.pid, startTime: entry.startTime, bootID: currentBootID)
    }
}
