public import Manifests

/// How to tell that a copy is well: the question that decides over its traffic, and two more that decide over its life.
public struct HealthSpec: Manifest {
    public var http: String?
    public var tcp: Bool?
    public var exec: ProbeCommand?
    public var grace = TimeSpan.seconds(0)
    public var interval = TimeSpan.seconds(2)
    public var timeout = TimeSpan.seconds(2)
    public var healthy_after = 1
    public var unhealthy_after = 3
    public var start: ProbeSpec?
    public var live: ProbeSpec?
    public var deadline = TimeSpan.minutes(10)
    public var stop_grace = TimeSpan.seconds(10)
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "http", \.http,
            "Path asked for with GET; any 2xx is well. Absent: an open port is. Models answer /v2/health/ready."),
        .optional("tcp", \.tcp, "An open port is well, for a model too."),
        .optional("exec", \.exec, "Command run where the copy runs; it is well when that ends with 0."),
        .optional("interval", \.interval, "How often it is asked."),
        .optional("timeout", \.timeout, "How long it may take to answer."),
        .optional("healthy_after", \.healthy_after, "Good answers in a row before a copy gets traffic.", in: 1...100),
        .optional("unhealthy_after", \.unhealthy_after, "Bad answers in a row before it gets no more.", in: 1...100),
        .optional("grace", \.grace, "Time after its start in which a copy's bad answers do not count."),
        .optional(
            "start", \.start,
            "Asked first, until it was good once; only then are the others. A copy whose start fails is replaced. Usually 30 bad answers do that."
        ),
        .optional(
            "live", \.live,
            "Asked all along. A copy that fails it is replaced by a new one, each time a little later. Usually 3 bad answers do that."
        ),
        .optional("deadline", \.deadline, "A rollout whose copies are not well after this long is aborted."),
        .optional("stop_grace", \.stop_grace, "Time between SIGTERM and SIGKILL."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        let asked = [("http", value.http != nil), ("tcp", value.tcp == true), ("exec", value.exec != nil)]
            .filter(\.1).map(\.0)
        guard asked.count > 1 else { return [] }
        return [
            ManifestError(
                at: [asked[1]], message: "a copy is asked by \"\(asked[0])\" or by \"\(asked[1])\", not by both",
                hint: "Keep one of them here; another question can be `live`.")
        ]
    }
}

/// One question that is asked of a copy again and again.
public struct ProbeSpec: Manifest {
    public var http: String?
    public var tcp: Bool?
    public var exec: ProbeCommand?
    public var interval = TimeSpan.seconds(2)
    public var timeout = TimeSpan.seconds(2)
    public var unhealthy_after: Int?
    public var delay = TimeSpan.seconds(0)
    public init() {}
    public static var noun: String { "probe" }
    public static let choices = ["http", "tcp", "exec"]
    public static let fields: [Field<Self>] = [
        .optional("http", \.http, "Path asked for with GET; any 2xx is good."),
        .optional("tcp", \.tcp, "Its port accepts a connection."),
        .optional("exec", \.exec, "Command run where the copy runs; good when it ends with 0."),
        .optional("interval", \.interval, "How often it is asked."),
        .optional("timeout", \.timeout, "How long it may take; a command is killed then."),
        .optional("unhealthy_after", \.unhealthy_after, "Bad answers in a row that it takes.", in: 1...10_000),
        .optional("delay", \.delay, "Time after the copy's start before it is asked at all."),
    ]
}

/// A command in one line, read by `/bin/sh`, or as a list of words.
public enum ProbeCommand: WireValue, Hashable {
    case line(String)
    case words([String])

    public static var schema: Schema {
        var schema = Schema(type: "any")
        schema.alternatives = [String.schema, [String].schema]
        return schema
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let line = json.string, !line.isEmpty {
            self = .line(line)
        } else if let words = json.array, !words.isEmpty {
            self = .words(try [String](json: json, at: path))
        } else {
            throw .expected("a command, as one line or as a list of words", at: path, found: json)
        }
    }

    public var json: JSONValue {
        switch self {
        case .line(let line): .string(line)
        case .words(let words): words.json
        }
    }

    /// Program and arguments.
    public var words: [String] {
        switch self {
        case .line(let line): ["/bin/sh", "-c", line]
        case .words(let words): words
        }
    }
}
