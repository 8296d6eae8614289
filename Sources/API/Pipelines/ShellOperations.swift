public import Manifests

/// A terminal in the kept workspace of a job, by way of its runner, which only ever asks: bytes wait at the server.
///
/// Both ways are streams of bytes with offsets, so that a repeat is harmless.
public enum Shells {
    public static let open = Operation<ShellInput, ShellTicket>(
        "shells.open", .post, "/api/v1/runs/{run}/shells", needs: .admin,
        "Opens a terminal in the kept workspace of a job, on its runner.")
    public static let send = Operation<ShellKeys, Nothing>(
        "shells.send", .post, "/api/v1/shells/{shell}/input", needs: .admin,
        "Sends what was typed, and the size of the terminal.")
    public static let read = Operation<ShellOffset, ShellOutput>(
        "shells.read", .get, "/api/v1/shells/{shell}/output", needs: .admin, wait: .seconds(20),
        "Waits for output behind an offset, or for the end.")
    public static let close = Operation<ShellOffset, Nothing>(
        "shells.close", .post, "/api/v1/shells/{shell}/close", needs: .admin, "Ends a terminal and all that runs in it."
    )

    // What a runner asks and tells.
    public static let offers = Operation<LeaseInput, ItemList<ShellOrder>>(
        "runners.shells", .post, "/api/v1/runners/{name}/shells", needs: .agent, wait: .seconds(20),
        "Waits for terminals that are to be opened.")
    public static let take = Operation<ShellOffset, ShellKeys>(
        "runners.shell-input", .post, "/api/v1/terminals/{shell}/input", needs: .agent, wait: .seconds(20),
        "Waits for what is typed behind an offset.")
    public static let tell = Operation<ShellOutput, Nothing>(
        "runners.shell-output", .post, "/api/v1/terminals/{shell}/output", needs: .agent, wait: .seconds(20),
        "Tells a piece of output, or the end; waits while there is no room.")
}

public struct ShellInput: Manifest {
    public var project = "default"
    public var run = ""
    /// "stage/job"; the stage alone will do when it has one job.
    public var job = ""
    public var step: Int?
    public var command: [String] = []
    public var rows = 24
    public var columns = 80
    public var term = "xterm"
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "The run's project."),
        .required("run", \.run, "Its id, or PIPELINE:NUMBER, or PIPELINE:latest."),
        .required("job", \.job, "stage/job, or the stage alone when it has one job."),
        .optional(
            "step", \.step, "Step whose variables are set, from 1; absent: the one that failed, or the last.",
            in: 1...10_000),
        .optional("command", \.command, "A program and its arguments instead of a shell."),
        .optional("rows", \.rows, "Rows of the terminal.", in: 1...10_000),
        .optional("columns", \.columns, "Columns of the terminal.", in: 1...10_000),
        .optional("term", \.term, "Its kind: TERM."),
    ]
}

public struct ShellTicket: Manifest {
    public var shell = ""
    public var runner = ""
    public var title = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("shell", \.shell, "Names the terminal."), .told("runner", \.runner, "Runner that it is on."),
        .told("title", \.title, "What it is, in words: `shop:12 test/unit step 3`."),
    ]
}

public struct ShellOffset: Manifest {
    public var shell = ""
    public var offset: Int64 = 0
    public init() {}
    public init(_ shell: String, offset: Int64 = 0) { (self.shell, self.offset) = (shell, offset) }
    public static let fields: [Field<Self>] = [
        .required("shell", \.shell, "The terminal."),
        .optional("offset", \.offset, "Bytes that one has already.", in: 0...9e15),
    ]
}

/// What is typed.
public struct ShellKeys: Manifest {
    public var shell = ""
    public var offset: Int64 = 0
    /// Base64.
    public var bytes = ""
    public var rows: Int?
    public var columns: Int?
    public var closed = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("shell", \.shell, "The terminal."),
        .optional("offset", \.offset, "Offset of the first byte.", in: 0...9e15),
        .optional("bytes", \.bytes, "What was typed, as base64."),
        .optional("rows", \.rows, "Rows of the terminal now.", in: 1...10_000),
        .optional("columns", \.columns, "Columns of the terminal now.", in: 1...10_000),
        .optional("closed", \.closed, "Nobody sits at it any more: it ends."),
    ]
}

public struct ShellOutput: Manifest {
    public var shell = ""
    public var offset: Int64 = 0
    /// Base64.
    public var bytes = ""
    public var exit_code: Int?
    /// Why it could not be opened, or has ended without an exit code.
    public var problem: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("shell", \.shell, "The terminal."),
        .optional("offset", \.offset, "Offset of the first byte.", in: 0...9e15),
        .optional("bytes", \.bytes, "Output, as base64."),
        .optional("exit_code", \.exit_code, "It has ended with this code, behind these bytes."),
        .optional("problem", \.problem, "It has ended for this reason."),
    ]
}

/// A terminal that a runner is to open.
public struct ShellOrder: Manifest {
    public var shell = ""
    public var run = ""
    public var stage = ""
    public var job = ""
    /// Index of the step whose variables are set.
    public var step = 0
    public var title = ""
    public var command: [String] = []
    public var rows = 24
    public var columns = 80
    public var term = "xterm"
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("shell", \.shell, "The terminal."), .told("run", \.run, "Run."), .told("stage", \.stage, "Stage."),
        .told("job", \.job, "Job."), .told("step", \.step, "Index of the step whose variables are set."),
        .told("title", \.title, "For the prompt."), .told("command", \.command, "A program instead of a shell."),
        .told("rows", \.rows, "Rows."), .told("columns", \.columns, "Columns."), .told("term", \.term, "TERM."),
    ]
}

extension Run {
    /// The job that `stage/job`, or a stage with one job, means; and the step of it that is wanted, or that failed, or the last.
    public func shellPlace(job name: String, step wanted: Int?) throws(Problem) -> (job: Job, step: Step?) {
        let matching = jobs.filter { $0.key == name || $0.stage == name }
        guard let job = matching.first(where: { $0.key == name }) ?? (matching.count == 1 ? matching[0] : nil) else {
            throw Problem(
                "shell.job", status: 404, "run \(pipeline):\(number) has no job \"\(name)\"",
                hint: suggestion(for: name, among: jobs.map(\.key), called: "job"))
        }
        guard let wanted else { return (job, job.steps.first { $0.status == .failed } ?? job.steps.last) }
        guard let step = job.steps.first(where: { $0.index == wanted - 1 }) else {
            throw Problem(
                "shell.step", status: 404, "job \"\(job.key)\" has no step \(wanted)",
                hint: "It has \(job.steps.count); the first is 1.")
        }
        return (job, step)
    }

    /// "shop:12 test/unit step 3"
    public func shellTitle(_ job: Job, _ step: Step?) -> String {
        "\(pipeline):\(number) \(job.key)" + (step.map { " step \($0.index + 1)" } ?? "")
    }
}
