public import Manifests

/// An objective for a share of good requests, and with it a budget of bad ones.
public enum SloKind: Kind {
    public typealias Spec = SloSpec
    public typealias Status = NoStatus
    public static let name = "Slo"
    public static let plural = "slos"
    public static let summary =
        "An objective: the share of requests, or of anything that is counted, that must be good over a window. Gates of environments ask how much of its budget is left."
}

/// Exactly one of `service` and `errors` with `total` says what is counted.
public struct SloSpec: Manifest {
    /// What stands for the window in a query.
    public static let windowWord = "$window"

    public var target = Share(0)
    public var window = TimeSpan.days(30)
    public var service: String?
    public var errors: String?
    public var total: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("target", \.target, "Share that must be good: 99.9%."),
        .optional("window", \.window, "Time over which it is counted.", in: 60...31_536_000),
        .optional(
            "service", \.service,
            "Service whose requests through the proxy are counted; one that is answered with 5xx, or not at all, is bad."
        ),
        .optional(
            "errors", \.errors,
            "PromQL for the number of bad ones over `$window`: `sum(increase(http_requests_total{code=~\"5..\"}[$window]))`."
        ),
        .optional(
            "total", \.total, "PromQL for the number of all: `sum(increase(http_requests_total[$window]))`."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        if value.target.fraction <= 0 || value.target.fraction >= 1 {
            errors.append(
                ManifestError(
                    at: ["target"], message: "a target lies between 0% and 100%, and is neither",
                    hint: "Write it like 99.9%: what is wanted always leaves no budget."))
        }
        let isWhole = (value.errors != nil) == (value.total != nil)
        if !isWhole || (value.service != nil) == (value.errors != nil) {
            errors.append(
                ManifestError(
                    at: [], message: "an objective counts either the requests of a service, or \"errors\" of \"total\"",
                    hint: "Write service: NAME, or both queries."))
        }
        for (name, query) in [("errors", value.errors), ("total", value.total)] {
            guard let query, !query.contains(windowWord) else { continue }
            errors.append(
                ManifestError(
                    at: [name], message: "the query does not say where its window is",
                    hint: "Write [\(windowWord)] for the range: increase(x[\(windowWord)])."))
        }
        return errors
    }

    /// The queries for bad ones and for all.
    ///
    /// - Parameter project: That of the objective.
    public func queries(project: String) -> (errors: String, total: String) {
        let range = "\(Int64((window.seconds * 1000).rounded()))ms"
        guard let service else {
            func filled(_ text: String?) -> String { (text ?? "").replacing(Self.windowWord, with: range) }
            return (filled(errors), filled(total))
        }
        let which = "{project=\"\(project)\",service=\"\(service)\"}[\(range)]"
        return (
            "sum(increase(vagus_proxy_errors_total\(which)))", "sum(increase(vagus_proxy_requests_total\(which)))"
        )
    }

    /// Share of the budget that is left; below 0 when more was bad than may be.
    ///
    /// - Parameter total: More than 0.
    public func budget(errors: Double, total: Double) -> Double { 1 - errors / total / (1 - target.fraction) }
}
