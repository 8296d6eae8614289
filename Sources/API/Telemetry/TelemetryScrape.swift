public import Manifests

/// One job of scraping: targets that are alike.
public struct ScrapeSpec: Manifest {
    public enum Scheme: String, WireEnum { case http, https }
    public var job = ""
    public var targets: [String] = []
    public var labels: Ordered<String> = [:]
    public var groups: [TargetGroup] = []
    public var file: String?
    public var services = false
    public var interval: TimeSpan?
    public var timeout: TimeSpan?
    public var path = "/metrics"
    public var scheme = Scheme.http
    public var params: Ordered<String> = [:]
    public var token_secret: String?
    public var username: String?
    public var honor_labels = false
    public var honor_timestamps = true
    public var relabel: [RelabelSpec] = []
    public var metric_relabel: [RelabelSpec] = []
    public var limits = ScrapeLimits()
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("job", \.job, "Name of the job; its targets' label `job`."),
        .optional("targets", \.targets, "Targets: `host:port`."),
        .optional("labels", \.labels, "Labels of all targets."),
        .optional("groups", \.groups, "Targets with labels of their own."),
        .optional(
            "file", \.file,
            "A file of targets in Prometheus's form (a list of `targets` and `labels`, JSON or YAML), in the data folder under telemetry/targets; read again when it changes."
        ),
        .optional("services", \.services, "Whether the running copies of vagus's own services are targets."),
        .optional("interval", \.interval, "How often; absent: metrics.interval.", in: 0.1...86_400),
        .optional(
            "timeout", \.timeout, "Longest time of one scrape; absent: 10s, or the interval if that is shorter.",
            in: 0.1...86_400),
        .optional("path", \.path, "Path that is fetched."),
        .optional("scheme", \.scheme, "How."),
        .optional("params", \.params, "Query parameters."),
        .optional(
            "token_secret", \.token_secret,
            "Secret that is sent: as bearer token, or as password when there is a user name."),
        .optional("username", \.username, "User name for basic authentication."),
        .optional(
            "honor_labels", \.honor_labels,
            "Whether a scraped label wins over the target's; else it is renamed exported_…"),
        .optional("honor_timestamps", \.honor_timestamps, "Whether times that the target tells are taken."),
        .optional("relabel", \.relabel, "What becomes of a target's labels before it is scraped; it may be dropped."),
        .optional("metric_relabel", \.metric_relabel, "What becomes of a series' labels; it may be dropped."),
        .optional("limits", \.limits, "A scrape that breaks one of these is refused whole."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        guard value.targets.isEmpty, value.groups.isEmpty, value.file == nil, !value.services else { return [] }
        return [
            ManifestError(
                at: ["targets"], message: "the scrape job \"\(value.job)\" has no targets",
                hint: "Write `targets: [host:port]`, `groups`, `file`, or `services: true`.")
        ]
    }
}

public struct TargetGroup: Manifest {
    public var targets: [String] = []
    public var labels: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("targets", \.targets, "Targets: `host:port`."),
        .optional("labels", \.labels, "Labels of these."),
    ]
}

/// 0 is no limit, except of the body.
public struct ScrapeLimits: Manifest {
    public var body = ByteSize(bytes: 32 << 20)
    public var samples = 0
    public var targets = 0
    public var labels = 0
    public var label_name_bytes = 0
    public var label_value_bytes = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("body", \.body, "Bytes of an answer, unpacked."),
        .optional("samples", \.samples, "Samples of a scrape, after relabelling.", in: 0...100_000_000),
        .optional("targets", \.targets, "Targets of the job; with more none is scraped.", in: 0...1_000_000),
        .optional("labels", \.labels, "Labels of a series.", in: 0...1000),
        .optional("label_name_bytes", \.label_name_bytes, "Bytes of a label's name.", in: 0...65_536),
        .optional("label_value_bytes", \.label_value_bytes, "Bytes of a label's value.", in: 0...1_048_576),
    ]
}

/// One step of relabelling, as Prometheus has it.
public struct RelabelSpec: Manifest {
    public enum Action: String, WireEnum {
        case replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase
    }
    public var source_labels: [String] = []
    public var separator = ";"
    public var regex = "(.*)"
    public var modulus = 0
    public var target_label: String?
    public var replacement = "$1"
    public var action = Action.replace
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("source_labels", \.source_labels, "Labels whose values are joined."),
        .optional("separator", \.separator, "What stands between them."),
        .optional("regex", \.regex, "What the joined values must match, from end to end."),
        .optional("modulus", \.modulus, "Of `hashmod`.", in: 0...1_000_000_000),
        .optional("target_label", \.target_label, "Label that is set."),
        .optional("replacement", \.replacement, "What it is set to; `$1` is the first group."),
        .optional("action", \.action, "What is done."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        let needsTarget: Set<Action> = [.replace, .hashmod, .lowercase, .uppercase, .keepequal, .dropequal]
        if needsTarget.contains(value.action), (value.target_label ?? "").isEmpty {
            return [
                ManifestError(
                    at: ["target_label"], message: "\"\(value.action.rawValue)\" needs a label to set",
                    hint: "Write `target_label: NAME`.")
            ]
        }
        if value.action == .hashmod, value.modulus == 0 {
            return [
                ManifestError(at: ["modulus"], message: "\"hashmod\" needs a modulus", hint: "Write `modulus: 8`.")
            ]
        }
        return []
    }
}
