public import Manifests

/// One step: exactly one verb.
public struct StepSpec: Manifest {
    public var id: String?
    public var name: String?
    public var `if`: String?
    public var timeout: TimeSpan?
    public var variables: Ordered<String> = [:]
    public var continue_on_error = false

    public var run: String?
    public var checkout: CheckoutSpec?
    public var ingest: IngestSpec?
    public var validate: ValidateSpec?
    public var transform: TransformSpec?
    public var train: TrainSpec?
    public var evaluate: EvaluateSpec?
    public var register: RegisterSpec?
    public var deploy: DeploySpec?
    public var watch: WatchSpec?

    public init() {}
    public static let choices = StepVerbs.names
    public static let fields: [Field<Self>] =
        [
            .optional("id", \.id, "Name for `steps.ID.outputs`."),
            .optional("name", \.name, "What it is called in the log; absent: its verb."),
            .optional("if", \.if, "Runs only when this expression is true; absent: when no step before it failed."),
            .optional("timeout", \.timeout, "Longest time; its whole process tree is then ended."),
            .optional("variables", \.variables, "Environment variables."),
            .optional("continue_on_error", \.continue_on_error, "Its failure does not fail the job."),
        ] + StepVerbs.fields(\StepSpec.self, skipping: [])
}

/// The verbs a step may have; the one list.
public enum StepVerbs {
    public static let names = [
        "run", "checkout", "ingest", "validate", "transform", "train", "evaluate", "register", "deploy", "watch",
    ]
    /// Verbs that the server carries out itself, through operations; the others go to a runner.
    public static let serverSide: Set<String> = ["register", "deploy", "watch"]
    /// Verbs that a runner hands to `vagus work`, a process of its own.
    public static let workers: Set<String> = ["ingest", "validate", "transform", "train", "evaluate"]

    static func fields<Root: Manifest>(
        _ step: any WritableKeyPath<Root, StepSpec> & Sendable, skipping: Set<String>
    ) -> [Field<Root>] {
        func field<V: WireValue>(_ name: String, _ path: any WritableKeyPath<StepSpec, V> & Sendable, _ help: String)
            -> Field<Root>
        {
            let joined: WritableKeyPath<Root, V> = (step as WritableKeyPath<Root, StepSpec>).appending(
                path: path as WritableKeyPath<StepSpec, V>)
            // Sound: a key path made of two Sendable key paths without captured values holds nothing mutable.
            let sendable = unsafeBitCast(joined, to: (any WritableKeyPath<Root, V> & Sendable).self)
            return .optional(name, sendable, help)
        }
        let all: [Field<Root>] = [
            field("run", \.run, "Shell script, run by bash with -euo pipefail."),
            field("checkout", \.checkout, "Puts the run's commit into the workspace."),
            field("ingest", \.ingest, "Reads a dataset; outputs `rows`."),
            field(
                "validate", \.validate, "Holds rows against the dataset's expectations; outputs `rows`, `quarantine`."),
            field(
                "transform", \.transform, "Splits, and fits feature transforms; outputs `train`, `test`, `transforms`."),
            field("train", \.train, "Trains a model; outputs `model`."),
            field("evaluate", \.evaluate, "Measures a model and holds it against its gates; outputs `report`."),
            field("register", \.register, "Makes a model version; outputs the value `version`."),
            field("deploy", \.deploy, "Rolls a new revision of a service out, and waits for its verdict."),
            field("watch", \.watch, "Looks at a monitor for a while."),
        ]
        return all.filter { !skipping.contains($0.name) }
    }
}

extension StepSpec {
    /// The step's verb with its settings as JSON; "" when it has none.
    public var verb: (name: String, settings: JSONValue) {
        for name in StepVerbs.names {
            if let settings = json[name] { return (name, settings) }
        }
        return ("", .null)
    }

    public var displayName: String {
        if let name { return name }
        if let run { return String(run.prefix { $0 != "\n" }.prefix(60)) }
        return verb.name
    }

    /// Artifacts of earlier stages that the verb reads: name for the worker → `stage.output`.
    public var artifactInputs: [(name: String, reference: String)] {
        if let validate { return [("rows", validate.input)] }
        if let transform { return [("rows", transform.input)] }
        if let train {
            var inputs = [("train", train.training_data), ("transforms", train.transformsReference)]
            if let validation = train.validation_data { inputs.append(("test", validation)) }
            return inputs
        }
        if let evaluate { return [("model", evaluate.model), ("data", evaluate.data)] }
        if let register { return [("model", register.from)] }
        if let artifact = deploy?.artifact { return [("artifact", artifact)] }
        return []
    }

    /// Declared things whose spec the worker is given: kind and name.
    public var resourceInputs: [(kind: String, name: String)] {
        if let ingest { return [(DatasetKind.name, ingest.dataset)] }
        if let dataset = validate?.dataset { return [(DatasetKind.name, dataset)] }
        return []
    }

    /// Names of what the verb leaves behind for later stages.
    public var artifactOutputs: [String] {
        switch verb.name {
        case "ingest": ["rows", "report"]
        case "validate": ["rows", "quarantine", "report"]
        case "transform": ["train", "test", "transforms"]
        case "train": ["model"]
        case "evaluate": ["report"]
        default: []
        }
    }
}

public struct CheckoutSpec: Manifest {
    public var depth = 1
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("depth", \.depth, "How many commits of history; 0 for all.", in: 0...1_000_000)
    ]
    public static func shorthand(_ json: JSONValue) -> Self? { json == .bool(true) || json == .null ? Self() : nil }
}

public struct RegisterSpec: Manifest {
    public var model = ""
    public var from = ""
    public var aliases: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("model", \.model, "Model that gets a new version."),
        .required("from", \.from, "The trained model: `stage.model`."),
        .optional("aliases", \.aliases, "Aliases that then point to the new version."),
    ]
}

public struct DeploySpec: Manifest {
    public var service = ""
    public var model: String?
    public var artifact: String?
    public var alias: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("service", \.service, "Service that gets a new revision."),
        .optional("model", \.model, "Model version to serve: `name@3`, or `name@alias`."),
        .optional("artifact", \.artifact, "Artifact to unpack as the working folder: `stage.name`."),
        .optional("alias", \.alias, "Alias of the model that moves to this version once it has all traffic."),
    ]
}

public struct WatchSpec: Manifest {
    public enum OnBreach: String, WireEnum { case fail, warn }
    public var monitor = ""
    public var `for` = TimeSpan.seconds(0)
    public var on_breach = OnBreach.fail
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("monitor", \.monitor, "Monitor to look at."),
        .optional("for", \.for, "How long to look."),
        .optional("on_breach", \.on_breach, "What a breach in that time means for the run."),
    ]
}
