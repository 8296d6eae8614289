public import Manifests

/// A kind of thing that people declare: `Pipeline`, `Service`, `Monitor`.
public protocol Kind: Sendable {
    associatedtype Spec: Manifest
    associatedtype Status: Manifest
    /// Name in manifests, singular and capitalised: "Pipeline".
    static var name: String { get }
    /// Name in URLs and on the command line, plural: "pipelines".
    static var plural: String { get }
    static var summary: String { get }
}

/// One declared thing as it crosses the wire: what is wanted (`spec`) and what is (`status`).
public struct Resource: Manifest {
    public var kind = ""
    public var project = "default"
    public var name = ""
    public var labels: Ordered<String> = [:]
    /// Counts changes of `spec`, from 1.
    public var generation = 0
    public var created_at = Timestamp.zero
    public var updated_at = Timestamp.zero
    public var spec: JSONValue = [:]
    public var status: JSONValue?
    public var conditions: [Condition] = []

    public init() {}
    public static let fields: [Field<Self>] = [
        .told("kind", \.kind, "What kind of thing it is."),
        .told("project", \.project, "Project it is in."),
        .told("name", \.name, "Its name, unique in its kind and project."),
        .optional("labels", \.labels, "Words to find it by."),
        .told("generation", \.generation, "Counts changes of what is wanted, from 1."),
        .told("created_at", \.created_at, "When it was first applied."),
        .told("updated_at", \.updated_at, "When what is wanted last changed."),
        .told("spec", \.spec, "What is wanted."),
        .optional("status", \.status, "What is."),
        .optional("conditions", \.conditions, "What is true, false or not yet known of it."),
    ]

    /// The manifest a person would write to get this resource: the flat form.
    public var manifest: JSONValue {
        var out = Ordered<JSONValue>()
        out["kind"] = .string(kind)
        out["name"] = .string(name)
        if project != "default" { out["project"] = .string(project) }
        if !labels.isEmpty { out["labels"] = labels.json }
        for (key, value) in spec.object ?? [:] { out[key] = value }
        return .object(out)
    }
}

/// Names one resource; typed, so that a pipeline's name cannot be handed where a service's is due.
public struct Reference<K: Kind>: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var project: String
    public var name: String
    public init(project: String, name: String) { (self.project, self.name) = (project, name) }
    public var description: String { "\(project)/\(name)" }
    public static func < (left: Self, right: Self) -> Bool { left.description < right.description }
}

/// One thing that is true, false or not yet known of a resource, for people and programs alike.
public struct Condition: Manifest {
    public enum Truth: String, WireEnum { case yes, no, unknown }
    public var name = ""
    public var truth = Truth.unknown
    /// One CamelCase word for programs: "ProbeFailed".
    public var reason = ""
    /// One sentence for people.
    public var message = ""

    public init() {}
    public init(_ name: String, _ truth: Truth, reason: String, message: String) {
        (self.name, self.truth, self.reason, self.message) = (name, truth, reason, message)
    }
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "What it speaks of."),
        .told("truth", \.truth, "Whether it is so."),
        .told("reason", \.reason, "One word for programs."),
        .told("message", \.message, "One sentence for people."),
    ]
}

/// A status that says nothing yet.
public struct NoStatus: Manifest {
    public init() {}
    public static let fields: [Field<Self>] = []
}
