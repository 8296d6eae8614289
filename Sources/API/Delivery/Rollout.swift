public import Manifests

/// How a new revision takes over from the stable one.
public struct RolloutSpec: Manifest {
    public enum Strategy: String, WireEnum { case canary, blue_green, rolling, recreate, a_b_testing }
    public enum SwitchStrategy: String, WireEnum { case instant, gradual }
    public var strategy = Strategy.rolling
    public var steps: [RolloutStepSpec] = []
    public var percentage: Int?
    public var duration: TimeSpan?
    public var analysis: Ordered<AnalysisSpec> = [:]
    public var background: [String] = []
    public var background_from = 0
    public var baseline: BaselineSpec?
    public var sticky: StickySpec?
    public var dynamic_stable_scale = false
    public var auto_promote = true
    public var auto_promote_after: TimeSpan?
    public var preview = PreviewSpec()
    public var blue_env: Ordered<String> = [:]
    public var green_env: Ordered<String> = [:]
    public var before_promotion: [String] = []
    public var after_promotion: [String] = []
    public var switch_strategy = SwitchStrategy.instant
    public var switch_interval = TimeSpan.seconds(30)
    public var surge = Amount.share(0.25)
    public var unavailable = Amount.share(0.25)
    public var test: ABTestSpec?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "strategy", \.strategy,
            "canary shifts traffic by steps; blue_green all at once after a preview; rolling copy by copy; recreate stops the old first; a_b_testing holds a split until an outcome is known."
        ),
        .optional("steps", \.steps, "Steps of a canary."),
        .optional(
            "percentage", \.percentage, "Canary in short: this share of the traffic, in place of steps.", in: 1...100),
        .optional("duration", \.duration, "Canary in short: for so long; absent: until somebody promotes."),
        .optional("analysis", \.analysis, "What is measured, and how it is judged."),
        .optional("background", \.background, "Analyses that run all through the rollout and abort it when they fail."),
        .optional("background_from", \.background_from, "Step from which they run.", in: 0...1000),
        .optional(
            "baseline", \.baseline,
            "Fresh copies of the stable revision with as much traffic as the canary, for judges with `against: baseline`."
        ),
        .optional("sticky", \.sticky, "Keeps each client on the revision it was first given."),
        .optional(
            "dynamic_stable_scale", \.dynamic_stable_scale,
            "Canary: stable copies are fewer as its share shrinks. An abort then waits for them to come back."),
        .optional("auto_promote", \.auto_promote, "Whether blue_green switches by itself once the preview is well."),
        .optional(
            "auto_promote_after", \.auto_promote_after,
            "blue_green switches by itself this long after the checks before the promotion."),
        .optional("preview", \.preview, "Preview of blue_green."),
        .optional(
            "blue_env", \.blue_env, "Environment variables of the blue side's copies; revisions take turns, blue first."
        ),
        .optional("green_env", \.green_env, "Environment variables of the green side's copies."),
        .optional("before_promotion", \.before_promotion, "Analyses of the preview, before blue_green switches."),
        .optional(
            "after_promotion", \.after_promotion,
            "Analyses after blue_green has switched; the old copies stay until they are over, and a failed one switches back."
        ),
        .optional(
            "switch_strategy", \.switch_strategy, "Whether blue_green switches at once or by 25, 50 and 75 %."),
        .optional("switch_interval", \.switch_interval, "Time between the parts of a gradual switch."),
        .optional("surge", \.surge, "Rolling: copies beyond the wanted; a share is rounded up."),
        .optional("unavailable", \.unavailable, "Rolling: copies that may be missing; a share is rounded down."),
        .optional("test", \.test, "What a_b_testing compares."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        func know(_ names: [String], _ at: [String]) {
            for name in names where value.analysis[name] == nil {
                errors.append(
                    ManifestError(
                        at: at, message: "no analysis \"\(name)\"",
                        hint: suggestion(for: name, among: value.analysis.keys, called: "analysis")))
            }
        }
        for (index, step) in value.steps.enumerated() {
            know(step.analyze ?? [], ["steps", "\(index)", "analyze"])
            know(step.experiment?.analyze ?? [], ["steps", "\(index)", "experiment", "analyze"])
        }
        know(value.background, ["background"])
        know(value.before_promotion, ["before_promotion"])
        know(value.after_promotion, ["after_promotion"])
        return errors + strategyErrors(value)
    }

    private static func strategyErrors(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        if value.percentage != nil, !value.steps.isEmpty {
            errors.append(
                ManifestError(
                    at: ["percentage"], message: "a canary has either steps or a percentage",
                    hint: "Write the percentage as the first step: `- weight: 10`."))
        }
        if value.strategy == .a_b_testing, value.test == nil {
            errors.append(
                ManifestError(
                    at: ["test"], message: "a_b_testing does not say what it compares",
                    hint: "Write `test: { outcome: signup }`, and send outcomes of that name."))
        }
        if value.strategy == .a_b_testing, value.sticky == nil {
            errors.append(
                ManifestError(
                    at: ["sticky"], message: "a_b_testing needs to know whom it must not move to the other side",
                    hint: "Write `sticky: { header: X-User }` or `sticky: { cookie: vagus_arm }`."))
        }
        if value.surge.isNothing, value.unavailable.isNothing {
            errors.append(
                ManifestError(
                    at: ["surge"], message: "with no copy more and no copy fewer nothing can be replaced",
                    hint: "Allow one of them: `surge: 1`."))
        }
        return errors
    }
}

/// One step: exactly one verb.
public struct RolloutStepSpec: Manifest {
    public var weight: Int?
    public var pause: PauseSpec?
    public var analyze: [String]?
    public var scale: ScaleSpec?
    public var route: RouteStepSpec?
    public var mirror: MirrorSpec?
    public var experiment: ExperimentSpec?
    public init() {}
    public static let choices = ["weight", "pause", "analyze", "scale", "route", "mirror", "experiment"]
    public static var noun: String { "rollout step" }
    public static let fields: [Field<Self>] = [
        .optional("weight", \.weight, "Share of the traffic for the new revision, in percent.", in: 0...100),
        .optional("pause", \.pause, "Waits: `{for: 5m}`, or `{}` until somebody promotes."),
        .optional("analyze", \.analyze, "Waits for these analyses; a failed one aborts."),
        .optional("scale", \.scale, "Copies of the new revision, whatever its share."),
        .optional("route", \.route, "Sends requests with these headers or cookies to the new revision."),
        .optional("mirror", \.mirror, "Sends it copies of requests, whose answers nobody gets."),
        .optional("experiment", \.experiment, "Runs extra copies beside each other for a while, and compares them."),
    ]

    /// The step in a few words.
    public var words: String {
        if let weight { return "\(weight) % of the traffic" }
        if let pause { return pause.for.map { "a pause of \($0)" } ?? "a pause until somebody promotes" }
        if let scale {
            if let replicas = scale.replicas { return "\(replicas) copies" }
            return scale.weight.map { "\($0) % of the copies" } ?? "copies as the share asks for"
        }
        if let route {
            let facts =
                route.header.map { "\($0.key): \($0.value)" } + route.cookie.map { "cookie \($0.key)=\($0.value)" }
            return facts.isEmpty ? "route \(route.name) removed" : "requests with \(facts.joined(separator: ", "))"
        }
        if let mirror { return mirror.percent == 0 ? "no mirror" : "\(mirror.percent) % of the requests mirrored" }
        if let experiment { return "an experiment of \(experiment.for)" }
        return "the judgement of \((analyze ?? []).joined(separator: ", "))"
    }
}

public struct PauseSpec: Manifest {
    public var `for`: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("for", \.for, "How long; absent: until somebody promotes.")
    ]
}

public struct ScaleSpec: Manifest {
    public var replicas: Int?
    public var weight: Int?
    public var match_traffic: Bool?
    public init() {}
    public static let choices = ["replicas", "weight", "match_traffic"]
    public static let fields: [Field<Self>] = [
        .optional("replicas", \.replicas, "So many copies.", in: 0...1000),
        .optional("weight", \.weight, "So many percent of the wanted copies.", in: 0...100),
        .optional("match_traffic", \.match_traffic, "As many as the share asks for, as without a scale step."),
    ]
}

/// A route for some requests; one without a match takes the route of that name away.
public struct RouteStepSpec: Manifest {
    public var name = ""
    public var header: Ordered<String> = [:]
    public var cookie: Ordered<String> = [:]
    public init() {}
    public static var noun: String { "route" }
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name, for a later step that takes it away."),
        .optional("header", \.header, "Headers that a request must all have, with these values."),
        .optional("cookie", \.cookie, "Cookies that a request must all have, with these values."),
    ]
}

public struct MirrorSpec: Manifest {
    public var percent = 0
    public var `for`: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("percent", \.percent, "Share of the requests that are copied; 0: none any more.", in: 0...100),
        .optional("for", \.for, "Waits so long, then ends it; absent: until a later mirror step."),
    ]
}

/// Extra copies that are compared while the step lasts.
public struct ExperimentSpec: Manifest {
    public var `for` = TimeSpan.minutes(5)
    public var arms: Ordered<ArmSpec> = [:]
    public var analyze: [String] = []
    public var required = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("for", \.for, "How long it lasts."),
        .required("arms", \.arms, "The copies: name → where they come from."),
        .optional(
            "analyze", \.analyze, "Analyses that compare the first arm of the canary with the first one of the stable."),
        .optional("required", \.required, "Whether a failed analysis aborts the rollout; else it is only told."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        let total = value.arms.reduce(0) { $0 + $1.value.weight }
        guard total > 90 else { return [] }
        return [
            ManifestError(
                at: ["arms"], message: "the arms of an experiment take \(total) % of the traffic",
                hint: "Leave at least 10 % to the stable revision.")
        ]
    }
}

public struct ArmSpec: Manifest {
    public enum Origin: String, WireEnum { case stable, canary }
    public var from = Origin.stable
    public var replicas = 1
    public var weight = 0
    public init() {}
    public static var noun: String { "arm" }
    public static let fields: [Field<Self>] = [
        .required("from", \.from, "The revision whose workload it runs."),
        .optional("replicas", \.replicas, "Its copies.", in: 1...100),
        .optional("weight", \.weight, "Its share of the traffic, in percent.", in: 0...90),
    ]
}

public struct BaselineSpec: Manifest {
    public var replicas: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("replicas", \.replicas, "Its copies; absent: as many as the canary has.", in: 1...100)
    ]
}

/// What keeps a client on one side: a cookie that the proxy sets, or a header or cookie that the program knows.
public struct StickySpec: Manifest {
    public enum Arms: String, WireEnum { case both }
    public var cookie: String?
    public var header: String?
    public var own_cookie: String?
    public var ttl = TimeSpan.hours(1)
    public var arms = Arms.both
    public init() {}
    public static let choices = ["cookie", "header", "own_cookie"]
    public static let fields: [Field<Self>] = [
        .optional("cookie", \.cookie, "A cookie of this name, set by the proxy."),
        .optional("own_cookie", \.own_cookie, "A cookie of the program's own that names the client."),
        .optional("header", \.header, "A header that names the client, such as X-User: the same value, the same side."),
        .optional("ttl", \.ttl, "How long the cookie is good for."),
        .optional(
            "arms", \.arms, "Clients of both sides are held, so that the share is held too; there is no other way."),
    ]
}

public struct PreviewSpec: Manifest {
    public var replicas: Int?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("replicas", \.replicas, "Copies while only the preview leads there; absent: all.", in: 1...1000)
    ]
}

/// Two revisions side by side until it is known which is better.
public struct ABTestSpec: Manifest {
    public enum Goal: String, WireEnum { case increase, decrease }
    public var share = 50
    public var outcome = ""
    public var goal = Goal.increase
    public var alpha = 0.05
    public var min_entities = 100
    public var `for` = TimeSpan.days(14)
    public init() {}
    public static var noun: String { "test" }
    public static let fields: [Field<Self>] = [
        .optional("share", \.share, "Share of the clients that get the new revision, in percent.", in: 1...99),
        .required("outcome", \.outcome, "Name of the outcome that is counted: once for each client."),
        .optional("goal", \.goal, "Whether more of it is better."),
        .optional("alpha", \.alpha, "Chance of a wrong answer, however often it is looked at.", in: 0.0001...0.5),
        .optional("min_entities", \.min_entities, "Clients on each side before anything is said.", in: 1...100_000_000),
        .optional("for", \.for, "It pauses, undecided, after this long."),
    ]
}

/// A number of copies, or a share of those that are wanted: `2` or `25%`.
public enum Amount: WireValue, Hashable, CustomStringConvertible {
    case count(Int)
    case share(Double)

    public static var schema: Schema {
        var text = Schema(type: "string")
        text.pattern = "^[0-9]+(\\.[0-9]+)?%$"
        var number = Schema(type: "integer")
        number.range = 0...1000
        var schema = Schema(type: "any")
        schema.alternatives = [text, number]
        return schema
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let number = json.int, (0...1000).contains(number) {
            self = .count(number)
        } else if let text = json.string, text.hasSuffix("%"), let number = Double(text.dropLast()),
            (0...100).contains(number)
        {
            self = .share(number / 100)
        } else {
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" is not a number of copies: \(json.text)",
                hint: "Write it like 2 or 25%.")
        }
    }

    public var description: String {
        switch self {
        case .count(let count): "\(count)"
        case .share(let share): Share(share).description
        }
    }
    public var json: JSONValue {
        switch self {
        case .count(let count): .integer(Int64(count))
        case .share: .string(description)
        }
    }
    public var isNothing: Bool { self == .count(0) || self == .share(0) }

    /// Copies out of those that are wanted.
    public func copies(of wanted: Int, roundedUp: Bool) -> Int {
        switch self {
        case .count(let count): count
        case .share(let share):
            // A hair above a whole number is that number: 0.1 is no exact binary fraction.
            Int((share * Double(wanted) + (roundedUp ? -1e-9 : 1e-9)).rounded(roundedUp ? .up : .down))
        }
    }
}
