import API
import Expressions
import Manifests

// What expressions see of a run beside its needs, and what the server leaves for the runner to put in.

extension Contexts {
    /// Contexts that only the runner knows, while the steps run.
    static let ofRunner: Set<String> = ["steps", "secrets", "env", "job", "runner"]

    /// Contexts of the variables that the server knows.
    static let ofVariables: Set<String> = ["variables", "vars"]

    /// Every context that there is somewhere.
    static let names = [
        "run", "event", "base_ref", "pipeline", "project", "ref", "branch", "tag", "commit", "parameters", "inputs",
        "variables", "vars", "needs", "matrix",
    ]

    /// Where and when an expression is evaluated.
    enum Place {
        /// Before the job is given to a runner.
        case onServer
        /// By the server, once the steps are done: the outputs of the job.
        case afterSteps
        case onRunner
    }

    /// Refuses a context that there is nowhere, a slip or a word of another system, and one that is not known there.
    static func check(
        _ references: [Expressions.Reference], readsFiles: Bool, at path: [String], evaluated place: Place
    ) throws(ManifestError) {
        if readsFiles, place != .onRunner {
            throw ManifestError(
                at: path, message: "hashFiles() has no files here",
                hint: "Call it in a step, a cache or an artifact, which the runner evaluates.")
        }
        for reference in references {
            let name = reference.path.first?.lowercased() ?? ""
            if names.contains(name) { continue }
            if ofRunner.contains(name) {
                if place == .onRunner || (place == .afterSteps && name == "steps") { continue }
                throw ManifestError(
                    at: path, message: "\"\(name)\" is not known here, at \(reference.position)",
                    hint: name == "env"
                        ? "Write variables.NAME; env is known to the steps only."
                        : name == "steps"
                            ? "Steps are known to the steps after them and to the outputs of their job; read needs.STAGE.outputs."
                            : "It is known to the steps only: hand it on as an output of one.")
            }
            throw ManifestError(
                at: path, message: "no expression can read \"\(name)\", at \(reference.position)",
                hint: name == "github"
                    ? "Write ref, commit, event, run.trigger and so on; vagus convert does it."
                    : suggestion(for: name, among: names + ofRunner.sorted(), called: "context"))
        }
    }

    /// What every expression of the run can read: `run`, `event`, `ref`, `commit`, `parameters`, `vars` and so on.
    static func shared(_ run: Run, _ spec: PipelineSpec, _ variables: Ordered<String>) -> [String: JSONValue] {
        // As JSON, since not every cause tells all of it.
        let trigger = run.trigger.json
        let ref = run.trigger.ref
        func name(after prefix: String) -> JSONValue {
            ref.flatMap { $0.hasPrefix(prefix) ? .string(String($0.dropFirst(prefix.count))) : nil } ?? .null
        }
        return [
            "run": [
                "id": .string(run.id), "number": .integer(Int64(run.number)),
                "trigger": .string(run.trigger.type.rawValue), "actor": .string(run.trigger.actor),
                "message": trigger["message"] ?? .null, "created_at": run.created_at.json,
            ],
            "event": trigger["event"] ?? .null,
            "base_ref": trigger["base_ref"] ?? .null,
            "pipeline": .string(run.pipeline),
            "project": .string(run.project),
            "ref": ref.map(JSONValue.string) ?? .null,
            "branch": name(after: "refs/heads/"),
            "tag": name(after: "refs/tags/"),
            "commit": run.commit.map(JSONValue.string) ?? .null,
            "parameters": .object(run.parameters),
            "inputs": .object(run.parameters),
            "variables": variables.json,
            "env": variables.json,
            "vars": vars(spec, variables).json,
        ]
    }

    /// Variables of the pipeline, those with expressions once they are resolved.
    private static func vars(_ spec: PipelineSpec, _ variables: Ordered<String>) -> Ordered<String> {
        var all = variables
        for (name, value) in spec.variables where all[name] == nil && !value.contains("${{") { all[name] = value }
        return all
    }
}

extension StepOrder {
    /// Gives the runner what its `if` and the texts that were left to it read of the server's contexts, and no more.
    mutating func addContext(from resolver: Resolver) throws {
        var wanted: [String] = []
        if let text = self.if { wanted += Self.roots(try Expression(parsing: text).references) }
        for text in settings.texts + environment.values where text.contains("${{") {
            wanted += Self.roots(try Template(parsing: text, limit: Template.quotedBytes).references)
        }
        for name in wanted where !Contexts.ofRunner.contains(name) && context[name] == nil {
            // Where some are left, all are read on the runner, as they are there.
            if Contexts.ofVariables.contains(name), !resolver.leftVariables.isEmpty { continue }
            // An unknown name is told by the runner, where the expression is evaluated.
            context[name] = try resolver.context.lookup(name)?.jsonValue
        }
    }

    private static func roots(_ references: [Expressions.Reference]) -> [String] {
        references.compactMap { $0.path.first?.lowercased() }
    }
}

extension JSONValue {
    /// Every text in it, names of members left out.
    fileprivate var texts: [String] {
        switch self {
        case .string(let text): [text]
        case .array(let items): items.flatMap(\.texts)
        case .object(let members): members.flatMap { $0.value.texts }
        default: []
        }
    }
}
