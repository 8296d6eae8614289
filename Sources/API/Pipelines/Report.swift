public import Manifests

/// Something that a step has told about a file, or at large: `::error file=a.c,line=3::text`.
public struct Annotation: Manifest {
    public enum Level: String, WireEnum { case error, warning, notice }
    public var step = 0
    public var level = Level.notice
    public var message = ""
    public var title: String?
    public var file: String?
    public var line: Int?
    public var end_line: Int?
    public var column: Int?
    public init() {}
    /// How many one step may tell.
    public static let limit = 50
    public static let fields: [Field<Self>] = [
        .told("step", \.step, "Position of its step."),
        .told("level", \.level, "How bad it is."),
        .told("message", \.message, "What it says."),
        .optional("title", \.title, "Its title."),
        .optional("file", \.file, "File of the repository."),
        .optional("line", \.line, "Line, from 1."),
        .optional("end_line", \.end_line, "Last line."),
        .optional("column", \.column, "Column, from 1."),
    ]
    /// "src/a.c:3: text" as compilers write it.
    public var text: String {
        let place = file.map { $0 + (line.map { ":\($0)" } ?? "") + (column.map { ":\($0)" } ?? "") + ": " } ?? ""
        return place + (title.map { "\($0): " } ?? "") + message
    }
}

/// How many lines the tests have run.
public struct Coverage: Manifest {
    public var lines = 0
    public var covered = 0
    /// Files with the most lines that were not run, at most `filesLimit`.
    public var files: [CoverageFile] = []
    public init() {}
    /// Files that are told.
    public static let filesLimit = 20
    /// Per cent of the lines, 0...100.
    public var percent: Double { lines == 0 ? 0 : Double(covered) / Double(lines) * 100 }
    public static let fields: [Field<Self>] = [
        .told("lines", \.lines, "Lines that could be run."),
        .told("covered", \.covered, "Lines that were."),
        .optional("files", \.files, "Files with the most lines that were not run."),
    ]
}

public struct CoverageFile: Manifest {
    public var path = ""
    public var lines = 0
    public var covered = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("path", \.path, "The file."), .told("lines", \.lines, "Lines that could be run."),
        .told("covered", \.covered, "Lines that were."),
    ]
}

/// One test case of a JUnit report.
public struct TestCase: Manifest {
    /// From the best to the worst; the worst of what a case says of itself counts.
    public enum Verdict: String, WireEnum { case passed, skipped, failed, broken }
    public var suite = ""
    public var name = ""
    public var file: String?
    public var verdict = Verdict.passed
    public var seconds = 0.0
    public var message: String?
    public init() {}
    /// Test cases of one job that are told one by one; of more only the sums are kept.
    public static let jobLimit = 20_000
    /// Test cases in one call.
    public static let batchLimit = 1000
    /// Bytes of one message.
    public static let messageBytes = 4096
    public static let fields: [Field<Self>] = [
        .told("suite", \.suite, "Its class or suite."),
        .told("name", \.name, "Its name."),
        .optional("file", \.file, "File it is written in."),
        .told("verdict", \.verdict, "How it ended."),
        .optional("seconds", \.seconds, "How long it took."),
        .optional("message", \.message, "Why it failed."),
    ]
}

public struct TestCasesInput: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var attempt = 1
    public var round = 0
    public var cases: [TestCase] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
        .optional("attempt", \.attempt, "Attempt of the job."),
        .optional("round", \.round, "Rerun of failed tests within the attempt; 0 is the first."),
        .required("cases", \.cases, "Test cases, at most 1000 at once."),
    ]
}
