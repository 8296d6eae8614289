import Glibc

/// A program to be started: everything about it is said here, nothing is inherited.
///
/// The program starts as leader of its own process group, with default signal handling, umask 022, and no descriptor
/// open but the three standard ones.
package struct Command: Sendable {
    /// Where output goes; standard output and standard error go the same way.
    package enum Output: Sendable, Equatable {
        /// To the caller of `Processes.run`, in chunks.
        case stream
        /// The same by one pipe, so that the words of both stay in order; none is told to be of standard error.
        case joined
        /// To a file, created when missing and always appended to, so that it survives us.
        case file(String)
        case discard
    }

    /// Where standard input comes from.
    package enum Input: Sendable, Equatable {
        case nothing
        case file(String)
    }

    /// An absolute path, a path relative to `directory` (with a slash), or a name to find in the PATH of `environment`.
    package var executable: String
    /// Without the name of the program itself.
    package var arguments: [String]
    /// All of it: the program sees these variables and no others.
    package var environment: [String: String]
    package var directory: String
    package var input: Input
    package var output: Output
    /// Kills the program (not what it has started) when this process dies, however it dies.
    package var dieWithParent: Bool
    /// Starts a session of its own, without a terminal, instead of a process group only.
    package var ownSession: Bool
    /// Its input is a terminal, which becomes that of its session.
    var ownsTerminal = false
    package var limits: ProcessLimits
    /// What the whole tree may take; needs a cgroup, see ``Processes/bounds``.
    package var budget: ResourceBudget
    /// Who runs it; nil is we ourselves.
    package var user: ProcessUser?
    /// It wraps what it starts and would end it at once on SIGTERM, which therefore goes to the others of its tree only.
    package var isWrapper: Bool
    /// Gives the program a cgroup of its own where one can be made, so that none of its descendants can escape.
    package var isContained: Bool
    /// Name of a variable in `environment` whose value no other command has.
    ///
    /// Where no cgroup can be made, descendants that left group and session are found by it.
    package var marker: String?

    package init(
        executable: String, arguments: [String] = [], environment: [String: String] = [:], directory: String,
        input: Input = .nothing, output: Output = .stream, dieWithParent: Bool = false, ownSession: Bool = true,
        limits: ProcessLimits = ProcessLimits(), budget: ResourceBudget = ResourceBudget(), user: ProcessUser? = nil,
        isWrapper: Bool = false, isContained: Bool = true, marker: String? = nil
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.input = input
        self.output = output
        self.dieWithParent = dieWithParent
        self.ownSession = ownSession
        self.limits = limits
        self.budget = budget
        self.user = user
        self.isWrapper = isWrapper
        self.isContained = isContained
        self.marker = marker
    }

    /// `NAME=value` of the marker, if it is named and there.
    var markerText: String? {
        guard let marker, let value = environment[marker] else { return nil }
        return "\(marker)=\(value)"
    }

    /// Refuses what the system could only misread: zero bytes and names that are none.
    func check() throws(ProcessError) {
        let texts = [executable, directory] + arguments + environment.keys + environment.values
        if texts.contains(where: { $0.utf8.contains(0) }) {
            throw ProcessError(
                .invalid, "a command holds a zero byte", hint: "Remove it from the arguments and the environment.")
        }
        if executable.isEmpty {
            throw ProcessError(.invalid, "a command names no executable", hint: "Name a program or give its path.")
        }
        if let name = environment.keys.first(where: { $0.isEmpty || $0.utf8.contains(UInt8(ascii: "=")) }) {
            throw ProcessError(
                .invalid, "no variable can be called \"\(name)\"", hint: "Use a name that is not empty and has no =.")
        }
        if let marker, environment[marker]?.isEmpty ?? true {
            throw ProcessError(
                .invalid, "the marker \"\(marker)\" is not in the environment",
                hint: "Set the variable to a value that no other command has.")
        }
    }
}

/// Bounds that the kernel keeps for each process of a command.
///
/// Nil leaves the bound as it is for us.
package struct ProcessLimits: Sendable, Equatable {
    /// Bytes of address space; allocations beyond it fail.
    package var addressSpaceBytes: UInt64?
    /// Seconds of processor time; the kernel kills beyond it.
    package var cpuSeconds: UInt64?
    package var openFiles: UInt64?
    /// Processes and threads of the user, all commands together; root is not held to it.
    package var userProcesses: UInt64?
    /// Bytes of one written file; SIGXFSZ beyond it.
    package var fileBytes: UInt64?
    /// Bytes of a core dump; none by default, as a dump holds secrets.
    package var coreBytes: UInt64?

    package init(
        addressSpaceBytes: UInt64? = nil, cpuSeconds: UInt64? = nil, openFiles: UInt64? = nil,
        userProcesses: UInt64? = nil, fileBytes: UInt64? = nil, coreBytes: UInt64? = 0
    ) {
        self.addressSpaceBytes = addressSpaceBytes
        self.cpuSeconds = cpuSeconds
        self.openFiles = openFiles
        self.userProcesses = userProcesses
        self.fileBytes = fileBytes
        self.coreBytes = coreBytes
    }

    /// Pairs of resource number and bound, in the order they are set.
    var resources: [(resource: Int32, value: UInt64)] {
        let all: [(Int32, UInt64?)] = [
            (Int32(RLIMIT_CORE.rawValue), coreBytes), (Int32(RLIMIT_CPU.rawValue), cpuSeconds),
            (Int32(RLIMIT_FSIZE.rawValue), fileBytes), (Int32(RLIMIT_NOFILE.rawValue), openFiles),
            (Int32(__RLIMIT_NPROC.rawValue), userProcesses), (Int32(RLIMIT_AS.rawValue), addressSpaceBytes),
        ]
        return all.compactMap { resource, value in value.map { (resource, min($0, Self.hardLimit(resource))) } }
    }

    /// The bound that we stand under ourselves; raising it needs a privilege that even root often lacks.
    private static func hardLimit(_ resource: Int32) -> UInt64 {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(UInt32(resource)), &limit) == 0 else { return .max }
        return UInt64(limit.rlim_max)
    }
}

/// Who a program runs as.
package struct ProcessUser: Sendable, Equatable {
    package let id: UInt32
    package let group: UInt32
    /// Supplementary groups.
    package let groups: [UInt32]
    /// Its home folder, which need not be there.
    package let home: String

    /// Most groups that a program may be in here.
    private static let groupLimit = 64

    package init(id: UInt32, group: UInt32, groups: [UInt32] = [], home: String = "/") {
        (self.id, self.group, self.groups) = (id, group, Array(groups.prefix(Self.groupLimit)))
        self.home = home
    }

    /// Whether this process may become other users.
    package static var canSwitch: Bool { geteuid() == 0 }

    /// Looks a user up by name or number.
    package init(named name: String) throws(ProcessError) {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var space = [CChar](repeating: 0, count: 16 * 1024)
        let result =
            UInt32(name).map { getpwuid_r($0, &entry, &space, space.count, &found) }
            ?? getpwnam_r(name, &entry, &space, space.count, &found)
        guard result == 0, found != nil, let login = entry.pw_name else {
            throw ProcessError(
                .invalid, "there is no user \"\(name)\" on this machine", hint: "Create it: useradd --system \(name)")
        }
        var count = Int32(Self.groupLimit)
        var groups = [gid_t](repeating: 0, count: Self.groupLimit)
        let listed = getgrouplist(login, entry.pw_gid, &groups, &count)
        self.init(
            id: entry.pw_uid, group: entry.pw_gid, groups: listed < 0 ? groups : Array(groups.prefix(Int(count))),
            home: entry.pw_dir.map { String(cString: $0) } ?? "/")
    }
}
