public import Manifests

/// An error as a person meets it: in the terminal, in the web UI, as `application/problem+json` (RFC 9457).
public struct Problem: Error, Manifest {
    /// What kind of problem, for programs: stable, lower-case, dotted: "pipeline.not-found".
    public var code = "internal"
    /// HTTP status.
    public var status = 500
    /// What happened, in one lower-case clause without a full stop. Never an internal detail.
    public var message = ""
    /// More facts, in full sentences, when one clause is not enough.
    public var detail: String?
    /// What to do about it, in full sentences.
    public var hint: String?
    /// Where in the input: "pipeline.yaml:7:5", "stages.2.needs".
    public var location: String?

    public init() {}
    public init(
        _ code: String, status: Int, _ message: String, detail: String? = nil, hint: String? = nil,
        location: String? = nil
    ) {
        self.code = code
        self.status = status
        self.message = message
        self.detail = detail
        self.hint = hint
        self.location = location
    }

    /// A manifest or request that cannot be accepted.
    public init(_ error: ManifestError) {
        self.init("manifest.invalid", status: 422, error.message, hint: error.hint, location: error.location)
    }

    public static let fields: [Field<Self>] = [
        .told("code", \.code, "What kind of problem, for programs."),
        .told("status", \.status, "HTTP status."),
        .told("message", \.message, "What happened, in one clause."),
        .optional("detail", \.detail, "More facts."),
        .optional("hint", \.hint, "What to do about it."),
        .optional("location", \.location, "Where in the input."),
    ]
}

/// A module's own error that knows how to be told to a person.
public protocol ProblemConvertible: Error {
    var problem: Problem { get }
}

extension Problem {
    /// Any error as a problem; what is not known to be for people becomes `internal` and keeps its secrets.
    public init(describing error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let error as any ProblemConvertible: self = error.problem
        case let error as ManifestError: self.init(error)
        case is CancellationError: self.init("cancelled", status: 503, "the server is stopping", hint: "Try again.")
        default: self.init("internal", status: 500, "something failed inside the server", hint: "See its log.")
        }
    }

    public static func notFound(_ noun: String, _ name: String, project: String, list: String) -> Problem {
        Problem(
            "\(noun.lowercased()).not-found", status: 404,
            "no \(noun.lowercased()) \"\(name)\" in project \"\(project)\"",
            hint: "List them with: vagus \(list) --project \(project)")
    }
}
