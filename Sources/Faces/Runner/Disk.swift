import API
import Foundation
import Kernel
import Synchronization

/// Room on the disk, and files laid into a workspace that nobody vouches for.
enum Disk {
    /// Bytes that may still be written at a path; what cannot be told counts as plenty.
    static func free(at path: String) -> Int64 {
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { return .max / 2 }
        let (bytes, isTooMany) = Int64(clamping: facts.f_bavail).multipliedReportingOverflow(by: Int64(facts.f_frsize))
        return isTooMany ? .max / 2 : bytes
    }

    /// Bytes that the files beneath a folder take on the disk, looked at within a bound of files.
    static func size(of folder: String) -> Int64 {
        guard let walker = FileManager.default.enumerator(atPath: folder) else { return 0 }
        var (size, count) = (Int64(0), 0)
        while let name = walker.nextObject() as? String, count < RunnerLimits.artifactFiles {
            var status = stat()
            if lstat("\(folder)/\(name)", &status) == 0 { size += Int64(status.st_blocks) * 512 }
            count += 1
        }
        return size
    }

    /// "1.5 GiB"
    static func words(_ bytes: Int64) -> String {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] where bytes >= 1 << shift {
            let tenths = Int64((Double(bytes) / Double(Int64(1) << shift) * 10).rounded())
            return tenths % 10 == 0 || tenths >= 1000
                ? "\(tenths / 10) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
        }
        return "\(bytes) bytes"
    }

    /// Moves what lies in one folder into another, over what is there.
    ///
    /// A workspace may hold links that lead anywhere; none is followed: one in the way of a folder is refused, one in
    /// the way of a file is replaced.
    static func merge(_ source: String, into target: String) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: source) {
            let (from, to) = ("\(source)/\(name)", "\(target)/\(name)")
            guard isFolder(from) else {
                if isFolder(to) { try FileManager.default.removeItem(atPath: to) }
                guard rename(from, to) == 0 else { throw failure("put \"\(name)\" into the workspace") }
                continue
            }
            if isFolder(to) {
                try merge(from, into: to)
            } else {
                var status = stat()
                guard lstat(to, &status) != 0 else {
                    throw Problem("workspace.in-the-way", status: 422, "\"\(name)\" is in the way, and no folder")
                }
                guard rename(from, to) == 0 else { throw failure("put \"\(name)\" into the workspace") }
            }
        }
    }

    /// Whether a folder lies there, not a link to one.
    static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// A folder of the workspace, made where it is missing; refused when a link leads out of it on the way.
    static func folder(_ path: String, in workspace: String) throws -> String {
        guard isInsideWorkspace(path) else {
            throw Problem("workspace.outside", status: 422, "\"\(path)\" leads out of the workspace")
        }
        var place = workspace
        for part in path.split(separator: "/") where part != "." {
            place += "/\(part)"
            if isFolder(place) { continue }
            guard mkdir(place, 0o750) == 0 else {
                if errno == EEXIST {
                    throw Problem("workspace.in-the-way", status: 422, "\"\(part)\" is in the way, and no folder")
                }
                throw failure("make the folder \"\(path)\"")
            }
        }
        return place
    }

    private static func failure(_ what: String) -> Problem {
        let reason = String(cString: strerror(errno))
        return Problem("workspace.write", status: 422, "could not \(what): \(reason.lowercased())")
    }
}

/// Watches the disk for all jobs of a runner: when it is nearly full, the job that takes most of it must end, so that
/// the others can go on.
final class DiskWatch: Sendable {
    private let jobs = Mutex<[String: StopSignal]>([:])

    func add(_ folder: String, _ stop: StopSignal) { jobs.withLock { $0[folder] = stop } }
    func remove(_ folder: String) { jobs.withLock { $0[folder] = nil } }

    /// Looks every moment until cancelled.
    func run(at place: String, by time: any TimeSource) async throws {
        while true {
            try await time.sleep(for: RunnerLimits.diskInterval)
            look(free: Disk.free(at: place))
        }
    }

    /// - Parameter free: Bytes that are left.
    func look(free: Int64) {
        guard free < RunnerLimits.freeBytes / 2 else { return }
        let known = jobs.withLock { $0 }.filter { $0.value.asked == nil }
        let sizes = known.map { (folder: $0.key, stop: $0.value, size: Disk.size(of: $0.key)) }
        guard let largest = sizes.max(by: { $0.size < $1.size }) else { return }
        largest.stop.ask(
            .init(
                isCancelled: false,
                reason: "the runner's disk is nearly full (\(Disk.words(free)) left), and this job takes most of it: "
                    + Disk.words(largest.size)))
    }
}
