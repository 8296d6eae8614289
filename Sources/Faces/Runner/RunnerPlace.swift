import API
import Foundation
import Glibc
import Kernel
import Manifests
import Synchronization

/// The folder of a runner.
struct RunnerPlace: Sendable {
    let folder: String
    var workspaces: String { "\(folder)/workspaces" }
    var blobs: String { "\(folder)/blobs" }
    let spares: SpareFolders

    init(_ folder: String) throws {
        self.folder = folder
        spares = SpareFolders("\(folder)/spare")
        // Whatever they held is of an earlier life.
        JobFolder.remove(spares.folder)
        for path in [workspaces, blobs, spares.folder] {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        }
    }

    // MARK: Workspaces

    /// Removes workspaces that were kept for people and have been looked at long enough.
    func sweepKept(before: Timestamp) {
        for run in (try? FileManager.default.contentsOfDirectory(atPath: workspaces)) ?? [] {  // none: nothing to sweep
            let jobs = (try? FileManager.default.contentsOfDirectory(atPath: "\(workspaces)/\(run)")) ?? []  // gone
            for job in jobs {
                let path = "\(workspaces)/\(run)/\(job)"
                let facts = try? FileManager.default.attributesOfItem(atPath: "\(path)/\(JobFolder.leftName)")  // not left
                guard let left = facts?[.modificationDate] as? Date,
                    Int64(left.timeIntervalSince1970 * 1e6) < before.microseconds
                else { continue }
                JobFolder.remove(path)
            }
            rmdir("\(workspaces)/\(run)")
        }
    }

    /// Removes workspaces that nobody has touched for long.
    func sweep(before: Timestamp) {
        let runs = (try? FileManager.default.contentsOfDirectory(atPath: workspaces)) ?? []  // none: nothing to sweep
        for run in runs {
            let path = "\(workspaces)/\(run)"
            let facts = try? FileManager.default.attributesOfItem(atPath: path)  // gone meanwhile
            guard let touched = facts?[.modificationDate] as? Date,
                Int64(touched.timeIntervalSince1970 * 1e6) < before.microseconds
            else { continue }
            JobFolder.remove(path)
        }
    }
}

/// The files of one job: WORKSPACES/<run>/<stage>.<job>/.
struct JobFolder: Sendable {
    let folder: String
    private let spares: SpareFolders
    var workspace: String { "\(folder)/workspace" }
    /// `runner.temp`: gone with the job.
    var temporary: String { "\(folder)/tmp" }
    /// Where the job's services run and what they say is kept; apart from the steps, whose folder begins empty.
    var services: String { "\(folder).services" }
    private var memory: String { "\(folder)/done.json" }
    private var laterMemory: String { "\(folder)/later.json" }
    /// Marks a folder whose job has ended, and which is kept for people to look at.
    static let leftName = "left"

    init(_ place: RunnerPlace, _ lease: Lease) {
        folder = "\(place.workspaces)/\(lease.run)/\(lease.stage).\(lease.job)"
        spares = place.spares
    }

    /// Files of one step: script, orders, inputs, outputs.
    func step(_ index: Int) -> String { "\(folder)/step-\(index)" }

    /// False where a job ended before its first step, as when its services never became ready.
    var hasBegun: Bool { FileManager.default.fileExists(atPath: workspace) }

    /// An empty folder for a job that begins.
    ///
    /// - Parameter isFresh: Nothing in it may be of a job before, not even a file to be written over.
    func begin(isFresh: Bool = false) throws {
        Self.remove(folder)
        try Self.make((folder as NSString).deletingLastPathComponent)
        if !isFresh, spares.take(as: folder) { return }
        try Self.make(workspace)
        try Self.make(temporary)
    }

    /// The reports of the finished steps, for a job that goes on; nil when the folder is not what was kept.
    func kept(_ lease: Lease) -> [StepReport]? {
        guard FileManager.default.fileExists(atPath: workspace), let data = FileManager.default.contents(atPath: memory)
        else { return nil }
        let done = try? [StepReport](json: JSONParser.parse(Array(data)), at: [])  // torn: begin anew
        return done.flatMap { $0.count >= lease.first_step ? $0 : nil }
    }

    /// Writes down which steps are finished, and how.
    func keep(_ done: [StepReport]) throws {
        try Self.replace(memory, with: done.json.bytes)
    }

    /// What the finished steps have set for those behind them.
    func keep(_ later: LaterSteps) throws {
        try Self.replace(laterMemory, with: later.json.bytes)
    }

    var keptLater: LaterSteps {
        let data = FileManager.default.contents(atPath: laterMemory) ?? Data("{}".utf8)
        return (try? LaterSteps(json: JSONParser.parse(Array(data)), at: [])) ?? LaterSteps()  // torn: nothing was set
    }

    /// Leaves the folder for people to look at, until the next sweep of those.
    func leave() throws { try Data().write(to: URL(fileURLWithPath: "\(folder)/\(Self.leftName)")) }
    /// What is done here is of no use to a later life: it will begin anew.
    func forget() {
        unlink(memory)
        unlink(laterMemory)
    }

    /// A folder for a step: empty but for a script to be written over, unless an execution of an earlier life may still be
    /// at work in it.
    func makeStep(_ index: Int, keeping: Bool = false) throws -> String {
        let place = step(index)
        if !keeping, !SpareFolders.isClean(place) { Self.remove(place) }
        try Self.make(place)
        return place
    }

    func remove() {
        unlink("\(step(0))/script.py")
        if !spares.keep(folder) { Self.remove(folder) }
        // The run's folder goes with its last job; rmdir spares one that is not empty.
        rmdir((folder as NSString).deletingLastPathComponent)
    }

    /// Writes a file; with `keeping` not when it is there already, as a program of an earlier life may be reading or writing it.
    static func put(_ bytes: [UInt8], at path: String, keeping: Bool) throws {
        var file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        if file < 0, errno == EEXIST {
            if keeping { return }
            file = try openSpare(path, bytes.count)
        }
        guard file >= 0 else { throw failure("write", path) }
        try write(bytes, to: file, path)
    }

    /// Opens a file of ours to be written over with so many bytes; what a program of a job has put in its place is refused.
    private static func openSpare(_ path: String, _ size: Int) throws -> Int32 {
        let file = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { throw failure("write", path) }
        var status = stat()
        // Cut to its new size rather than to nothing, which ext4 would answer by writing it to the disk at once.
        if fstat(file, &status) == 0, SpareFolders.isOurs(status), ftruncate(file, off_t(size)) == 0 { return file }
        close(file)
        throw failure("write", path)
    }

    /// Puts a file in the place of another, whole or not at all. It survives our death; that of the machine it need not,
    /// since then the job begins anew.
    private static func replace(_ path: String, with bytes: [UInt8]) throws {
        let file = open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard file >= 0 else { throw failure("write", path) }
        try write(bytes, to: file, path)
        guard rename(path + ".new", path) == 0 else { throw failure("write", path) }
    }

    private static func write(_ bytes: [UInt8], to file: Int32, _ path: String) throws {
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress?.advanced(by: done), $0.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write", path) }
            done += count
        }
    }

    private static func failure(_ what: String, _ path: String) -> Problem {
        Problem(
            "runner.folder", status: 500, "could not \(what) \"\(path)\": \(String(cString: strerror(errno)))",
            hint: "Look whether the runner's disk is full, and whether its folder is its own.")
    }

    /// Makes a folder and those above it.
    ///
    /// Another job of the run that ends at this moment may take their common folder away again before there is anything
    /// in it: then it is made anew.
    static func make(_ path: String) throws {
        for _ in 0..<makeTries {
            if mkdir(path, 0o750) == 0 { return }
            switch errno {
            case EEXIST:
                var status = stat()
                guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
                return
            case ENOENT: try make((path as NSString).deletingLastPathComponent)
            default: throw failure("make the folder", path)
            }
        }
        throw failure("make the folder", path)
    }

    private static let makeTries = 10

    /// Removes a folder, those parts of it included that a program has made read-only.
    static func remove(_ path: String) {
        // Most are nearly empty, or not there at all: that is seen without asking Foundation.
        if rmdir(path) == 0 || errno == ENOENT { return }
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            guard let walker = FileManager.default.enumerator(atPath: path) else { return }
            for case let name as String in walker { chmod("\(path)/\(name)", 0o700) }
            try? FileManager.default.removeItem(atPath: path)  // the sweep at the next start tries again
        }
    }
}

/// Folders of jobs that have left nothing in them, for jobs to come.
///
/// What makes and removes a few folders for each of a hundred jobs a second has ext4 look, for each new one, through all that
/// were removed in the last five seconds (`recently_deleted` in its `ialloc.c`): a fifth of a runner's time.
final class SpareFolders: Sendable {
    let folder: String
    private let state = Mutex(State())

    private struct State {
        var names: [Int] = []
        var last = 0
    }

    private static let limit = 64
    private static let mode: mode_t = 0o750

    init(_ folder: String) { self.folder = folder }

    /// Puts a spare folder at a path where there is nothing; false when there is none to be had.
    func take(as path: String) -> Bool {
        guard let name = state.withLock({ $0.names.popLast() }) else { return false }
        if rename("\(folder)/\(name)", path) == 0 { return true }
        JobFolder.remove("\(folder)/\(name)")
        return false
    }

    /// Takes the folder of a job that has ended, when it is as it was at its beginning; false when it is not.
    func keep(_ path: String) -> Bool {
        let parts = ["tmp", "workspace", "step-0"]
        guard Self.holds(path, parts), Self.isClean("\(path)/step-0"),
            parts.dropLast().allSatisfy({ Self.holds("\(path)/\($0)", []) })
        else { return false }
        // Nobody shall read what the job before was told to do; the file itself is used again.
        guard truncate("\(path)/step-0/\(Self.script)", 1) == 0 || errno == ENOENT else { return false }
        let name: Int? = state.withLock { state in
            guard state.names.count < Self.limit else { return nil }
            state.last += 1
            return state.last
        }
        guard let name, rename(path, "\(folder)/\(name)") == 0 else { return false }
        state.withLock { $0.names.append(name) }
        return true
    }

    /// Whether the folder of a step holds nothing but a script of ours, which the next one is written over.
    static func isClean(_ path: String) -> Bool {
        if holds(path, []) { return true }
        var status = stat()
        guard holds(path, [script]), lstat("\(path)/\(script)", &status) == 0 else { return false }
        return isOurs(status) && status.st_mode == S_IFREG | 0o644 && status.st_size <= scriptBytes
    }

    /// Whether this is a file of ours, with no other name.
    static func isOurs(_ status: stat) -> Bool {
        status.st_mode & S_IFMT == S_IFREG && status.st_nlink == 1 && status.st_uid == geteuid()
            && status.st_gid == getegid()
    }

    /// The file that may stay.
    private static let script = "script.sh"
    /// Bytes of a script that is kept to be written over.
    private static let scriptBytes = 16 << 10

    /// Whether this is a folder of ours with these entries and no others, as it was made.
    static func holds(_ path: String, _ wanted: [String]) -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode == S_IFDIR | mode, status.st_uid == geteuid(),
            status.st_gid == getegid(), let open = opendir(path)
        else { return false }
        defer { closedir(open) }
        var found = 0
        while let entry = readdir(open) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
                field.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            guard wanted.contains(name) else { return false }
            found += 1
        }
        return found == wanted.count
    }
}
