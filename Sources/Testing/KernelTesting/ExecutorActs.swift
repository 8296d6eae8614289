/// What the conformance suite makes an executor do: a shell script for real ones, a word for the fake.
package enum ExecutorAct: Sendable, Equatable {
    /// Ends with this code.
    case exit(Int)
    /// Kills itself with SIGKILL.
    case die
    /// Writes these bytes.
    case say([UInt8])
    /// Writes 1, 2, 3, …, a line each.
    case count(Int)
    /// Writes so many "x" without a line end.
    case longLine(Int)
    /// Writes to both streams in turn.
    case bothStreams
    /// Writes its environment, a `NAME=value` line each.
    case environment
    /// Writes the value of one variable.
    case variable(String)
    /// Writes where it is, and leaves a file `here` there.
    case directory
    /// Reads all of standard input, then says `end`.
    case readInput
    /// Keeps the pipes open for writing until ended: by a child, by one in a session of its own, and, if there is a
    /// third, by one whose parent has ended.
    case hold([String], isDeaf: Bool)
    /// Says `begun`; when asked to end, leaves a file and ends.
    case farewell(String)
    /// Adds a line to a file, says `begun`, waits until the gate is there, ends with 4.
    case once(file: String, gate: String)
    /// Uses more memory than it may.
    case devour
    /// Starts more processes than it may.
    case fork(Int)
    /// Writes the names of its network interfaces.
    case interfaces
    /// A program that is not there.
    case absent

    /// For the Bourne shell, busybox's included.
    package var script: String {
        switch self {
        case .exit(let code): "exit \(code)"
        case .die: "kill -9 $$"
        case .say(let bytes):
            "printf '%b' '\(bytes.map { "\\0" + String($0, radix: 8).leftPadded }.joined())'"
        case .count(let number): "seq 1 \(number)"
        case .longLine(let length): "head -c \(length) /dev/zero | tr '\\0' x"
        case .bothStreams: "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
        case .environment: "env"
        case .variable(let name): "printf '%s' \"$\(name)\""
        case .directory: "pwd; echo x > here"
        case .readInput: "cat; echo end"
        case .hold(let pipes, let isDeaf): Self.hold(pipes, isDeaf)
        case .farewell(let file):
            "trap 'echo bye > \(file); exit 0' TERM; echo begun; while :; do sleep 0.05; done"
        case .once(let file, let gate):
            "echo x >> \(file); echo begun; while [ ! -e \(gate) ]; do sleep 0.05; done; echo ended; exit 4"
        case .devour: "head -c 400000000 /dev/zero | tail"
        case .fork(let count): "i=0; while [ $i -lt \(count) ]; do sleep 300 & i=$((i+1)); done; echo all"
        case .interfaces: "sed -n 's/^ *\\([^ :]*\\):.*/\\1/p' /proc/net/dev"
        case .absent: ""
        }
    }

    private static func hold(_ pipes: [String], _ isDeaf: Bool) -> String {
        let forms = ["sleep 300 > %", "setsid sleep 300 > %", "(setsid sleep 300 > % &) "]
        let starts = zip(forms, pipes).map { form, pipe in
            form.replacing("%", with: pipe) + (form.hasPrefix("(") ? ";" : " &")
        }
        return (isDeaf ? "trap '' TERM; " : "") + starts.joined(separator: " ") + " echo begun; wait; sleep 300"
    }
}

extension String {
    fileprivate var leftPadded: String { String(repeating: "0", count: max(0, 3 - count)) + self }
}
