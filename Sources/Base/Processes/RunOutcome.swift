/// A piece of output, as it came.
package struct OutputChunk: Sendable, Equatable {
    package let bytes: [UInt8]
    /// True for standard error.
    package let isError: Bool

    package init(bytes: [UInt8], isError: Bool) {
        self.bytes = bytes
        self.isError = isError
    }
}

/// How a process ended.
package enum ExitStatus: Sendable, Equatable, Codable {
    case exited(Int32)
    case signalled(Int32)
}

/// How a run ended.
package struct RunOutcome: Sendable, Equatable {
    /// The ways a run can end.
    package enum Status: Sendable, Equatable {
        case exited(Int32)
        case signalled(Int32)
        /// The time limit was over and the tree was ended.
        case timedOut
    }

    package let status: Status
    /// Processor time of the command and of the children it waited for.
    package let cpuTime: Duration
    /// The most memory that one process of the command held at once.
    package let peakResidentBytes: UInt64
    /// All output that was handed over.
    package let outputBytes: Int
    /// What the kernel has done to keep the command's budget.
    package let findings: BudgetFindings

    package var isSuccess: Bool { status == .exited(0) }
}

/// What is known of a process that has ended.
struct Ending: Sendable {
    let status: ExitStatus
    let cpuTime: Duration
    let peakResidentBytes: UInt64
}
