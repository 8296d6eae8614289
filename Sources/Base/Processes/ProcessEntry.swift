import CLinux
import Glibc

/// Small files of /proc and of cgroups, read whole.
enum ProcFile {
    /// Reads at most `limit` bytes; nil when the file cannot be opened or read.
    static func read(_ path: String, limit: Int = 64 * 1024) -> [UInt8]? {
        let file = clinux_open(path, O_RDONLY, 0)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: min(limit, 16 * 1024))
        while bytes.count < limit {
            let count = Glibc.read(file, &piece, min(piece.count, limit - bytes.count))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { break }
            bytes.append(contentsOf: piece[..<count])
        }
        return bytes
    }

    static func text(_ path: String, limit: Int = 64 * 1024) -> String? {
        read(path, limit: limit).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Writes a word to a control file.
    static func write(_ text: String, to path: String) -> Bool {
        let file = clinux_open(path, O_WRONLY, 0)
        guard file >= 0 else { return false }
        defer { close(file) }
        let bytes = Array(text.utf8)
        return Glibc.write(file, bytes, bytes.count) == bytes.count
    }

    /// Names of the entries of a folder, without the two dots; empty when it cannot be read.
    static func names(in folder: String) -> [String] {
        guard let open = opendir(folder) else { return [] }
        defer { closedir(open) }
        var names: [String] = []
        while let entry = readdir(open) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
                field.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}

/// One line of the kernel's list of processes, as it was at the time of reading.
package struct ProcessEntry: Sendable, Equatable {
    let pid: Int32
    let state: UInt8
    let parent: Int32
    let group: Int32
    let session: Int32
    let startTime: UInt64
    let cpuTime: Duration
    let residentBytes: UInt64

    /// A zombie or on its way out: nothing of it runs any more.
    var hasEnded: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") || state == UInt8(ascii: "x") }

    static let ownPID: Int32 = getpid()
    private static let ticksPerSecond = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
    private static let pageBytes = UInt64(max(1, sysconf(Int32(_SC_PAGESIZE))))
    /// The parent of all threads of the kernel.
    private static let kernelParent: Int32 = 2
    /// How often an empty environment is read, and the pause in between.
    private static let environmentTries = 5
    private static let environmentMilliseconds: Int32 = 2
    /// Most processes of one family that are counted together.
    private static let familyLimit = 4096

    /// Reads `/proc/<pid>/stat`; nil when there is no such process.
    init?(pid: Int32) {
        guard let bytes = ProcFile.read("/proc/\(pid)/stat", limit: 4096) else { return nil }
        self.init(pid: pid, stat: bytes)
    }

    /// Parses the line of proc(5).
    ///
    /// The program's name may hold anything, so fields are counted from its last bracket.
    init?(pid: Int32, stat: [UInt8]) {
        guard let bracket = stat.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = stat[(bracket + 1)...].split(separator: UInt8(ascii: " "))
        // The first field after the bracket is number 3 in the manual.
        func number(_ field: Int) -> UInt64? {
            guard field - 3 < fields.count else { return nil }
            return UInt64(String(decoding: fields[field - 3].filter { $0 > 0x20 }, as: UTF8.self))
        }
        guard let state = fields.first?.first, let parent = number(4), let group = number(5), let session = number(6),
            let startTime = number(22)
        else { return nil }
        self.pid = pid
        self.state = state
        self.parent = Int32(truncatingIfNeeded: parent)
        self.group = Int32(truncatingIfNeeded: group)
        self.session = Int32(truncatingIfNeeded: session)
        self.startTime = startTime
        let ticks = (14...17).reduce(UInt64(0)) { $0 + (number($1) ?? 0) }
        let milliseconds = ticks * 1000 / Self.ticksPerSecond
        cpuTime = .milliseconds(Int64(milliseconds))
        residentBytes = (number(24) ?? 0) * Self.pageBytes
    }

    /// Everything that runs on this machine and that we may see.
    static func all() -> [ProcessEntry] {
        ProcFile.names(in: "/proc").compactMap { Int32($0).flatMap(ProcessEntry.init(pid:)) }
    }

    /// The process and its children's children, by the kernel's own lists of children.
    static func family(of pid: Int32) -> [ProcessEntry] {
        var family: [ProcessEntry] = []
        var queue = [pid]
        while let next = queue.popLast(), family.count < familyLimit {
            guard let entry = ProcessEntry(pid: next) else { continue }
            family.append(entry)
            for thread in ProcFile.names(in: "/proc/\(next)/task") {
                let children = ProcFile.text("/proc/\(next)/task/\(thread)/children") ?? ""
                queue += children.split(separator: " ").compactMap { Int32($0) }
            }
        }
        return family
    }

    /// Children of a process, which need not be ours.
    package static func children(of pid: Int32) -> [ProcessEntry] { family(of: pid).filter { $0.parent == pid } }

    /// What this very process calls itself now (`/proc/<pid>/cmdline`), its parts ended by zeros; nil when it has ended.
    package var title: String? {
        guard let now = ProcessEntry(pid: pid), now.startTime == startTime, !now.hasEnded else { return nil }
        return ProcFile.text("/proc/\(pid)/cmdline")
    }

    /// Sends a signal to this very process, or to nobody when its number has gone to another.
    func signal(_ number: Int32) {
        let handle = clinux_pidfd_open(pid)
        guard handle >= 0 else { return }
        defer { close(handle) }
        guard let now = ProcessEntry(pid: pid), now.startTime == startTime else { return }
        _ = clinux_pidfd_signal(handle, number)
    }

    /// Tells whether its environment, as it was when executed, holds this `NAME=value`.
    func carries(_ marker: String) -> Bool {
        let wanted = Array(marker.utf8)
        for attempt in 1...Self.environmentTries {
            guard let environment = ProcFile.read("/proc/\(pid)/environ", limit: 1 << 20) else { return false }
            // In the midst of an exec there is nothing to read for a moment; a thread of the kernel never has any.
            guard environment.isEmpty, parent != Self.kernelParent, attempt < Self.environmentTries else {
                return environment.split(separator: 0).contains { $0.elementsEqual(wanted) }
            }
            _ = clinux_poll(nil, 0, Self.environmentMilliseconds)
        }
        return false
    }
}
