// Programs that others wrote, started, watched and ended without a trace left behind.
//
// What comes in is a `Command`: an executable, its arguments, the whole of its environment, a directory. What goes out is
// its output, chunk by chunk as it comes, and how it ended. `Processes.run` does all of that for a step of a pipeline;
// `Processes.start` gives a `RunningProcess` for a service that lives on, even past a restart of ours: its
// `ProcessIdentity` (pid, start time, boot) is written down, and whoever reads it later adopts the process by it.
//
// Why not swift-subprocess, the usual door: it returns when the direct child ends and drops what grandchildren print
// after that, it ends only the direct child on cancellation, and it cannot adopt a process that an earlier life of ours
// has started. Foundation's own class leaves signals blocked in children started from async code.
//
// How it hangs together:
//   Command, ProcessLimits, ResourceBudget   what is wanted      ProcessError    why it could not be
//   Launch                        command -> clinux_spawn (System/CLinux), on the one thread that starts programs
//   EventThread, Wake, Alarm      one epoll thread rings when a child ends, a pipe fills, a time is over
//   RunningProcess                the handle; the child stays a zombie while it is held, so its number stays ours
//   OutputReader, LineSplitter    pipes -> chunks -> lines, never more than a buffer in memory
//   Supervision                   `run`: ends, deadlines, cancellation and stragglers, in one loop
//   TerminalProcess               a program with a terminal of its own, for people
//   ProcessTree, Cgroup, Termination   all that a command has brought into the world, and its end
//
// The whole tree ends with its command. Where a cgroup can be made (version 2, or version 1's pids or freezer), each
// command gets its own, and one write kills everything in it, double-forked daemons included. Where none can be made
// (most containers mount them read-only), /proc is searched for the group, the session, the children's children, and
// for `Command.marker`, a variable of the environment that daemons inherit wherever they flee.
//
// Three threads in all, whatever runs: one starts programs (it must live for ever, as PDEATHSIG counts from the thread,
// not from the process), one waits, one searches and kills. The Swift pool is never blocked.

/// Starts, runs, finds and ends programs.
package enum Processes {
    /// How long output of stragglers is read after the command itself has ended, before they are killed.
    package static let linger: Duration = .seconds(2)

    /// The bounds of a ``ResourceBudget`` that can be held on this machine.
    package static let bounds = ResourceBudget.Bound.allCases.filter { CgroupPlaces.system.place(for: $0) != nil }

    /// The file that a command would execute; throws when there is none.
    package static func file(of command: Command) throws(ProcessError) -> String {
        try ExecutableLookup.path(for: command)
    }

    /// Starts a program and lets it run; its output goes to a file or nowhere.
    ///
    /// Returns when the program has been executed, or throws why it could not be. Dropping the handle does not end it.
    package static func start(_ command: Command) async throws(ProcessError) -> RunningProcess {
        if [.stream, .joined].contains(command.output) {
            throw ProcessError(
                .invalid, "a started program cannot stream its output",
                hint: "Send the output to a file or discard it, or use run.")
        }
        return try await Launch.start(command).process
    }

    /// Runs a program to its end, with everything it has started.
    ///
    /// - Parameters:
    ///   - command: What to run. With `.stream` and `.joined`, chunks go to `output`; else `output` is never called.
    ///   - timeout: From the start on; when it is over the tree is ended and the status is `.timedOut`.
    ///   - grace: Between SIGTERM and SIGKILL when the tree must be ended early.
    ///   - linger: For stragglers that hold the output open after the command has ended.
    ///   - started: Called once, before any output, with what is to be written down for adoption.
    ///   - output: Called with one chunk after the other; while it works nothing more is read, so a slow one holds the
    ///     program back and no more than a pipe's buffer waits.
    /// - Returns: How it ended. By then no process of the tree is left.
    /// - Throws: `ProcessError` when it could not start, `CancellationError` when the task was cancelled, or what
    ///   `started` or `output` threw; in each case after the tree has been ended.
    package static func run(
        _ command: Command, timeout: Duration? = nil, grace: Duration = .seconds(10),
        linger: Duration = Processes.linger,
        started: (ProcessIdentity) async throws -> Void = { _ in },
        output: @escaping @Sendable (OutputChunk) async throws -> Void
    ) async throws -> RunOutcome {
        try Task.checkCancellation()
        let launched = try await Launch.start(command)
        let supervision = Supervision(launched, grace: grace, linger: linger)
        do {
            try await started(launched.process.identity)
        } catch {
            await launched.process.terminate(grace: .zero)
            throw error
        }
        return try await supervision.run(timeout: timeout, output: output)
    }

    /// Tells whether the very process is still running; a zombie is not, nor a stranger with the same number.
    package static func isAlive(_ identity: ProcessIdentity) -> Bool {
        guard identity.bootID == ProcessIdentity.currentBootID, let entry = ProcessEntry(pid: identity.pid) else {
            return false
        }
        return entry.startTime == identity.startTime && !entry.hasEnded
    }

    /// Ends a process and its tree by identity alone, as after a restart of ours; does nothing when there is none.
    ///
    /// SIGTERM first, SIGKILL to what is left after `grace`. Calling it twice is harmless.
    package static func terminate(_ identity: ProcessIdentity, grace: Duration) async {
        guard identity.bootID == ProcessIdentity.currentBootID else { return }
        await Termination(tree: ProcessTree(identity)).run(grace: grace)
    }

    /// Returns the memory that the process and its children hold at this moment, or nil when it is not alive.
    package static func residentBytes(_ identity: ProcessIdentity) -> UInt64? {
        guard isAlive(identity) else { return nil }
        return ProcessEntry.family(of: identity.pid).reduce(0) { $0 + $1.residentBytes }
    }

    /// Returns the processor time that the process and its children have used so far, or nil when it is not alive.
    package static func cpuTime(_ identity: ProcessIdentity) -> Duration? {
        guard isAlive(identity) else { return nil }
        return ProcessEntry.family(of: identity.pid).reduce(.zero) { $0 + $1.cpuTime }
    }
}
