import API
import Foundation
import Glibc
import Kernel
import Manifests
import Processes

/// The folder of one copy: `instance.json` (what was meant and which process it became), `work/`, `output.log`.
struct InstanceFolder: Sendable {
    let path: String

    /// What is written down of a copy: the intent before it is started, its process after.
    struct Record: Codable, Sendable, Equatable {
        var id: String
        var project: String
        var service: String
        var revision: Int
        var port: Int
        /// Told to the process and all that it starts, and to no other: ids come twice on a machine with two servers.
        var mark: String
        var started_at: Int64
        var process: ProcessIdentity?
        /// When it was told to stop, or found ended; its folder is kept for the log.
        var ended_at: Int64?

        var instanceID: InstanceID { InstanceID(id) }

        func instance(isRunning: Bool) -> Instance {
            Instance(
                id: instanceID, service: Reference(project: project, name: service), revision: revision,
                host: "127.0.0.1", port: port, startedAt: Timestamp(microseconds: started_at), isRunning: isRunning)
        }
    }

    var work: String { "\(path)/work" }
    var log: String { "\(path)/output.log" }
    private var record: String { "\(path)/instance.json" }

    /// Bytes of output after which the log begins anew; the part before is kept once, as `output.log.1`.
    static let logLimit: UInt64 = 64 << 20

    /// Folder names are ids with their slashes as dots: no part of an id holds a dot.
    static func name(_ id: InstanceID) -> String { id.text.split(separator: "/").joined(separator: ".") }

    /// What is written down; nil when nothing is, or nothing that can be read.
    func read() -> Record? {
        guard let data = FileManager.default.contents(atPath: record) else { return nil }
        // A record that cannot be read is as good as none: writing it is atomic, so it was never ours.
        return try? JSONDecoder().decode(Record.self, from: data)  // see above
    }

    /// Written whole or not at all, and on the disk before it is relied upon.
    func write(_ value: Record) throws {
        let data = try JSONEncoder().encode(value)
        let partial = record + ".partial"
        let file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard file >= 0 else { throw Self.failure("write", partial) }
        let written = data.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        let isWhole = written == data.count && fsync(file) == 0
        close(file)
        guard isWhole, rename(partial, record) == 0 else { throw Self.failure("write", record) }
    }

    func makeFolders() throws {
        try FileManager.default.createDirectory(atPath: work, withIntermediateDirectories: true)
    }

    /// Takes the working folder away; the log stays.
    func clear() {
        try? FileManager.default.removeItem(atPath: work)  // what is left is taken away with the folder, later
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)  // tried again at the next look
    }

    /// Begins the log anew when it has grown too long.
    ///
    /// The program keeps its descriptor, which only ever appends, so the file is copied and cut rather than renamed. It is cut
    /// when the copy has met its end: what is written between these two calls is lost. The part is in its place only then,
    /// so that whoever follows the file sees that it began anew when it has.
    func boundLog(limit: UInt64 = Self.logLimit) {
        guard let size = Self.size(log), size > limit else { return }
        let source = open(log, O_RDWR | O_CLOEXEC)
        guard source >= 0 else { return }
        defer { close(source) }
        let target = open(partialLog, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o640)
        // Somebody else is at it.
        if target < 0, errno == EEXIST { return }
        if target >= 0 {
            defer { close(target) }
            // Somebody else has just done it.
            guard let size = Self.size(log), size > limit else {
                unlink(partialLog)
                return
            }
            // A program may write as fast as we read. A full disk: better cut than fuller still.
            Self.copy(source, to: target, atMost: size + limit)
        }
        ftruncate(source, 0)
        if rename(partialLog, log + ".1") != 0 { unlink(partialLog) }
    }

    private var partialLog: String { log + ".1.partial" }

    /// Ends what a server has begun that died in `boundLog`.
    func settleLog() {
        guard let part = Self.size(partialLog) else { return }
        if let size = Self.size(log), size < part {
            rename(partialLog, log + ".1")
        } else {
            unlink(partialLog)
        }
    }

    private static func size(_ path: String) -> UInt64? {
        var info = stat()
        return stat(path, &info) == 0 ? UInt64(info.st_size) : nil
    }

    private static func copy(_ source: Int32, to target: Int32, atMost: UInt64) {
        withUnsafeTemporaryAllocation(byteCount: 1 << 18, alignment: 16) { buffer in
            var left = atMost
            while left > 0 {
                let count = Glibc.read(source, buffer.baseAddress, buffer.count)
                guard count > 0, Glibc.write(target, buffer.baseAddress, count) == count else { return }
                left -= min(left, UInt64(count))
            }
        }
    }

    static func failure(_ verb: String, _ path: String) -> Problem {
        let reason = strerror(errno).map { String(cString: $0).lowercased() } ?? "error \(errno)"
        return Problem(
            "instance.folder", status: 500, "could not \(verb) \"\(path)\": \(reason)",
            hint: "Look at the space and the rights of the data folder.")
    }
}

/// Looking into /proc for a copy whose process was started but not written down.
enum ProcessSearch {
    /// Variable of the environment that holds a copy's mark.
    static let variable = "VAGUS_INSTANCE_MARK"

    /// The leader of the session whose environment carries this copy's mark.
    static func leader(of record: InstanceFolder.Record) -> ProcessIdentity? {
        let text = "\(variable)=\(record.mark)"
        let wanted = Array(text.utf8)
        guard let boot = ProcessIdentity.current?.bootID,
            let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc")  // none: nothing to adopt
        else { return nil }
        for pid in names.compactMap({ Int32($0) }) {
            // The leader of a session was started by us; what it started carries the variable too.
            guard getsid(pid) == pid, carries(wanted, pid), let start = startTime(pid) else { continue }
            return ProcessIdentity(pid: pid, startTime: start, bootID: boot, marker: text)
        }
        return nil
    }

    /// The environment that a process was started with; nil when it is gone.
    static func environment(of process: ProcessIdentity) -> [String: String]? {
        guard Processes.isAlive(process),
            let bytes = FileManager.default.contents(atPath: "/proc/\(process.pid)/environ")
        else { return nil }
        var environment: [String: String] = [:]
        for entry in bytes.split(separator: 0) {
            let parts = String(decoding: entry, as: UTF8.self).split(separator: "=", maxSplits: 1)
            if let name = parts.first { environment[String(name)] = parts.count > 1 ? String(parts[1]) : "" }
        }
        return environment
    }

    private static func carries(_ wanted: [UInt8], _ pid: Int32) -> Bool {
        guard let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else { return false }
        return environment.split(separator: 0).contains { $0.elementsEqual(wanted) }
    }

    /// Field 22 of /proc/<pid>/stat (proc(5)); counted from the last bracket, as the name may hold anything.
    ///
    /// Nil for a zombie.
    private static func startTime(_ pid: Int32) -> UInt64? {
        guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat"),
            let bracket = stat.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = stat[(bracket + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, fields[0].first != UInt8(ascii: "Z") else { return nil }
        return UInt64(String(decoding: fields[19], as: UTF8.self))
    }
}
