import CLinux
import Glibc

/// A program that has just been executed, and our ends of its pipes.
struct Launched: Sendable {
    let process: RunningProcess
    /// Nil unless the output is streamed; whoever takes it closes it.
    let pipes: Pipes?

    /// The reading ends of standard output and standard error; nil when that goes where output goes.
    struct Pipes: Sendable {
        let output: Int32
        let error: Int32?
    }
}

/// From a command to a running program.
enum Launch {
    /// Bytes a pipe may hold before the program is held back; Linux gives 1 MiB at most without privilege.
    static let pipeBytes = 256 * 1024
    /// A program just written may be open for writing in another child that is about to execute: tries and pause.
    private static let busyTries = 5
    private static let busyMilliseconds: Int32 = 20

    /// Starts a program on the spawner's thread.
    static func start(_ command: Command) async throws(ProcessError) -> Launched {
        try command.check()
        let machinery = try Machinery.shared()
        let result: Result<Launched, ProcessError> = await machinery.spawner.run {
            do throws(ProcessError) {
                return .success(try launch(command, machinery))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func launch(_ command: Command, _ machinery: Machinery) throws(ProcessError) -> Launched {
        let path = try ExecutableLookup.path(for: command)
        let channels = try Channels(command)
        defer { channels.closeTheirs() }
        let cgroup: Cgroup?
        do throws(ProcessError) {
            let isWanted = command.isContained || !command.budget.bounds.isEmpty
            cgroup = isWanted ? try Cgroup.make(command.budget) : nil
        } catch {
            channels.closeOurs()
            throw error
        }
        let spawned: clinux_spawned
        do throws(ProcessError) {
            spawned = try spawn(command, path: path, channels, cgroup)
        } catch {
            channels.closeOurs()
            cgroup?.remove()
            throw error
        }
        // Not let in after all, for instance where version 2 wants a delegated parent: then there is none.
        let entered = spawned.cgroup_error == 0 ? cgroup : nil
        if entered == nil { cgroup?.remove() }
        // The child is not reaped yet, so its entry is there even if it has already ended.
        let identity = ProcessIdentity(
            pid: spawned.pid, startTime: ProcessEntry(pid: spawned.pid)?.startTime ?? 0,
            bootID: ProcessIdentity.currentBootID, cgroup: entered?.folder, marker: command.markerText)
        do throws(ProcessError) {
            let process = try RunningProcess(
                identity, pidfd: spawned.pidfd, isWrapper: command.isWrapper, machinery)
            return Launched(process: process, pipes: channels.ours)
        } catch {
            channels.closeOurs()
            ProcessTree(identity).kill()
            _ = waitpid(identity.pid, nil, WNOHANG)
            throw error
        }
    }

    private static func spawn(
        _ command: Command, path: String, _ channels: Channels, _ cgroup: Cgroup?
    ) throws(ProcessError) -> clinux_spawned {
        let entrance = cgroup?.openEntrance() ?? -1
        defer { if entrance >= 0 { close(entrance) } }
        let bounds = try cgroup?.openBounds() ?? []
        defer { bounds.forEach { close($0) } }
        let strings = CStrings()
        var request = clinux_spawn()
        request.path = strings.text(path)
        request.arguments = strings.list([command.executable] + command.arguments)
        request.environment = strings.list(command.environment.map { "\($0.key)=\($0.value)" }.sorted())
        request.directory = strings.text(command.directory)
        request.input = channels.input
        request.output = channels.output
        request.error = channels.error
        request.cgroup = entrance
        request.own_session = command.ownSession ? 1 : 0
        request.own_terminal = command.ownsTerminal ? 1 : 0
        request.death_signal = command.dieWithParent ? SIGKILL : 0
        let limits = command.limits.resources.map { clinux_limit(resource: $0.resource, value: $0.value) }
        request.limit_count = Int32(min(limits.count, Int(CLINUX_LIMITS_MAX)))
        Self.fill(&request.limits, with: limits)
        request.bound_count = Int32(min(bounds.count, Int(CLINUX_CGROUPS_MAX)))
        Self.fill(&request.bounds, with: bounds)
        if let user = command.user {
            (request.has_user, request.user, request.group) = (1, user.id, user.group)
            request.group_count = Int32(min(user.groups.count, Int(CLINUX_GROUPS_MAX)))
            Self.fill(&request.groups, with: user.groups)
        }
        var spawned = clinux_spawned()
        for attempt in 1...busyTries {
            let result = withExtendedLifetime(strings) { clinux_spawn(&request, &spawned) }
            if result == 0 { return spawned }
            guard spawned.error == ETXTBSY, attempt < busyTries else { break }
            _ = clinux_poll(nil, 0, busyMilliseconds)
        }
        throw explain(spawned, command, path: path)
    }

    /// Copies a list into an array of C, as much of it as there is room for.
    private static func fill<Fields, Value>(_ fields: inout Fields, with values: [Value]) {
        withUnsafeMutableBytes(of: &fields) { bytes in
            values.withUnsafeBytes { bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0.prefix(bytes.count))) }
        }
    }

    /// What went wrong in the child, said for people.
    private static func explain(_ spawned: clinux_spawned, _ command: Command, path: String) -> ProcessError {
        let reason = ProcessError.text(of: spawned.error)
        switch clinux_stage(UInt32(spawned.stage)) {
        case CLINUX_STAGE_DIRECTORY:
            return ProcessError(
                .noSuchDirectory, "could not enter the directory \"\(command.directory)\": \(reason)",
                hint: "Create the directory, or let this user enter it.")
        case CLINUX_STAGE_LIMIT:
            return ProcessError(
                .limit, "could not set the limits of \"\(command.executable)\": \(reason)",
                hint: "Ask for no more than the hard limits of this user (ulimit -H -a).")
        case CLINUX_STAGE_CGROUP:
            return ProcessError(
                .limit, "could not bound what \"\(command.executable)\" takes: \(reason)",
                hint: "Let this user write to its cgroup (with systemd: Delegate=yes), or ask for no bound.")
        case CLINUX_STAGE_USER:
            return ProcessError(
                .limit, "could not run \"\(command.executable)\" as another user: \(reason)",
                hint: "Run vagus as root, or let it run programs as its own user.")
        case CLINUX_STAGE_EXECUTE:
            return explainExecute(spawned.error, path: path)
        default:
            return .machinery("start \"\(command.executable)\"", spawned.error)
        }
    }

    private static func explainExecute(_ number: Int32, path: String) -> ProcessError {
        let reason = ProcessError.text(of: number)
        switch number {
        case ENOENT:
            // The file was there a moment ago: what is missing is what its first line or its header names.
            return ProcessError(
                .notFound, "the interpreter or loader of \"\(path)\" was not found",
                hint: "Look at the first line of the script, and at line ends that are not Unix ones.")
        case EACCES, ENOEXEC, EISDIR, ETXTBSY, ELIBBAD, EPERM:
            return ProcessError(
                .notExecutable, "could not execute \"\(path)\": \(reason)",
                hint: "Make it executable (chmod +x), with a first line such as #!/bin/sh, for this machine.")
        case E2BIG:
            return ProcessError(
                .limit, "the arguments and the environment of \"\(path)\" are too long",
                hint: "Pass long values in a file; one value may have 128 KiB, all together about 2 MiB.")
        default:
            return .machinery("execute \"\(path)\"", number)
        }
    }
}

/// The three standard descriptors of a child, and our ends.
private struct Channels {
    let input: Int32
    let output: Int32
    let error: Int32
    let ours: Launched.Pipes?

    private static let fileMode: UInt32 = 0o640

    init(_ command: Command) throws(ProcessError) {
        switch command.input {
        case .nothing: input = try Self.open("/dev/null", O_RDONLY)
        case .file(let path): input = try Self.open(path, O_RDONLY)
        }
        do throws(ProcessError) {
            switch command.output {
            case .discard: (output, error, ours) = try Self.both("/dev/null", O_WRONLY)
            case .file(let path): (output, error, ours) = try Self.both(path, O_WRONLY | O_CREAT | O_APPEND)
            case .stream: (output, error, ours) = try Self.pipes()
            case .joined:
                let (reading, writing) = try Self.pipe()
                (output, error, ours) = (writing, writing, Launched.Pipes(output: reading, error: nil))
            }
        } catch {
            close(input)
            throw error
        }
    }

    func closeTheirs() {
        close(input)
        close(output)
        if error != output { close(error) }
    }

    func closeOurs() {
        guard let ours else { return }
        close(ours.output)
        if let error = ours.error { close(error) }
    }

    private static func both(_ path: String, _ flags: Int32) throws(ProcessError) -> (Int32, Int32, Launched.Pipes?) {
        let file = try open(path, flags)
        return (file, file, nil)
    }

    private static func pipes() throws(ProcessError) -> (Int32, Int32, Launched.Pipes?) {
        let output = try pipe()
        do throws(ProcessError) {
            let error = try pipe()
            return (output.writing, error.writing, Launched.Pipes(output: output.reading, error: error.reading))
        } catch {
            close(output.reading)
            close(output.writing)
            throw error
        }
    }

    private static func pipe() throws(ProcessError) -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        let made = clinux_pipe(&ends, Int32(Launch.pipeBytes))
        guard made == 0 else { throw .machinery("make a pipe", -made) }
        return (ends[0], ends[1])
    }

    private static func open(_ path: String, _ flags: Int32) throws(ProcessError) -> Int32 {
        let file = clinux_open(path, flags | O_NOCTTY, fileMode)
        if file >= 0 { return file }
        let reason = ProcessError.text(of: -file)
        let isMissing = [ENOENT, ENOTDIR].contains(-file)
        throw ProcessError(
            isMissing ? .noSuchDirectory : [EMFILE, ENFILE].contains(-file) ? .limit : .other,
            "could not open \"\(path)\": \(reason)",
            hint: "Create the folder it is in, and let this user read or write there.")
    }
}

/// Which file a command means.
enum ExecutableLookup {
    static func path(for command: Command) throws(ProcessError) -> String {
        let name = command.executable
        if name.utf8.contains(UInt8(ascii: "/")) {
            let path = name.hasPrefix("/") ? name : "\(command.directory)/\(name)"
            switch look(at: path) {
            case .fit: return path
            case .missing:
                throw ProcessError(.notFound, "there is no file \"\(path)\"", hint: "Give the path of a program.")
            case .unfit: throw unfit(path)
            }
        }
        guard let list = command.environment["PATH"], !list.isEmpty else {
            throw ProcessError(
                .notFound, "could not look for \"\(name)\": the environment has no PATH",
                hint: "Set PATH in the environment of the command, or give the whole path of the program.")
        }
        var unfitPath: String?
        // An empty entry means the current directory to a shell; here it means nothing, which is safer.
        for folder in list.split(separator: ":") {
            // One that is relative is meant from where the program begins.
            let path = folder.hasPrefix("/") ? "\(folder)/\(name)" : "\(command.directory)/\(folder)/\(name)"
            switch look(at: path) {
            case .fit: return path
            case .unfit: unfitPath = unfitPath ?? path
            case .missing: continue
            }
        }
        if let unfitPath { throw unfit(unfitPath) }
        throw ProcessError(
            .notFound, "no program \"\(name)\" in the PATH of its environment",
            hint: "Install it, or add its folder to PATH, which is \"\(list)\".")
    }

    private enum Finding { case fit, missing, unfit }

    private static func look(at path: String) -> Finding {
        var status = stat()
        guard stat(path, &status) == 0 else { return errno == EACCES ? .unfit : .missing }
        return status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0 ? .fit : .unfit
    }

    private static func unfit(_ path: String) -> ProcessError {
        ProcessError(
            .notExecutable, "\"\(path)\" is not an executable file",
            hint: "Make it executable: chmod +x \(path)")
    }
}

/// C strings that live as long as this object.
private final class CStrings {
    private var texts: [UnsafeMutablePointer<CChar>] = []
    private var lists: [UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>] = []

    deinit {
        texts.forEach { free($0) }
        lists.forEach { $0.deallocate() }
    }

    func text(_ string: String) -> UnsafePointer<CChar>? { copy(string).map { UnsafePointer($0) } }

    func list(_ strings: [String]) -> UnsafePointer<UnsafeMutablePointer<CChar>?> {
        let list = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() { list.advanced(by: index).initialize(to: copy(string)) }
        list.advanced(by: strings.count).initialize(to: nil)
        lists.append(list)
        return UnsafePointer(list)
    }

    private func copy(_ string: String) -> UnsafeMutablePointer<CChar>? {
        guard let copy = strdup(string) else { return nil }
        texts.append(copy)
        return copy
    }
}
