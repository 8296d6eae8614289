import API
import Expressions
import Manifests

/// Replaces `${{ … }}` in text by values.
///
/// What is left for the runner, and all that comes beside it, the runner evaluates: a value that looks like an expression
/// (a commit's message, a parameter, an output) is quoted for it, so that nothing is evaluated twice.
struct Resolver: Sendable {
    var context: Context
    /// Whether expressions that read what only the runner knows (`steps`, `env`, files) are kept for it.
    var leavesSteps = true
    /// Variables whose values are left for the runner, in small letters; so is what reads them.
    var leftVariables: Set<String> = []

    /// The text with every expression replaced; those that read `steps` and the like may be left for the runner.
    func resolve(_ text: String) throws -> JSONValue {
        guard text.contains("${{") else { return .string(text) }
        let pieces = Self.pieces(of: text)
        if pieces.count == 1, let only = pieces.first {
            let template = try Template(parsing: only)
            if isLeft(template) { return .string(only) }
            let value = try template.evaluate(in: context).jsonValue
            return leavesSteps ? Self.quoted(value) : value
        }
        var out = ""
        for piece in pieces {
            let template = try Template(parsing: piece)
            if template.isPlain || isLeft(template) {
                out += piece
            } else {
                let text = try template.render(in: context)
                out += leavesSteps ? Template.quoting(text) : text
            }
        }
        return .string(out)
    }

    func render(_ text: String) throws -> String {
        let value = try resolve(text)
        return value.string ?? Value(value).text
    }

    /// Every text in a JSON value made text again: what is nothing is empty.
    func render(_ json: JSONValue) throws -> JSONValue {
        switch json {
        case .string(let text): .string(try render(text))
        case .array(let items): .array(try items.map(render))
        case .object(let members): .object(try members.map(render))
        default: json
        }
    }

    /// A text as people read it: what was quoted for the runner is itself again.
    static func shown(_ text: String) -> String {
        guard text.contains("${{") else { return text }
        return pieces(of: text).map { (try? Template(parsing: $0).constant) ?? $0 }.joined()  // as written, then
    }

    static func shown(_ json: JSONValue) -> JSONValue {
        switch json {
        case .string(let text): .string(shown(text))
        case .array(let items): .array(items.map(shown))
        case .object(let members): .object(members.map(shown))
        default: json
        }
    }

    private static func quoted(_ json: JSONValue) -> JSONValue {
        switch json {
        case .string(let text): .string(Template.quoting(text))
        case .array(let items): .array(items.map(quoted))
        case .object(let members): .object(members.map(quoted))
        default: json
        }
    }

    /// Every text in a JSON value resolved; keys stay.
    func resolve(_ json: JSONValue) throws -> JSONValue {
        switch json {
        case .string(let text): return try resolve(text)
        case .array(let items): return .array(try items.map(resolve))
        case .object(let members): return .object(try members.map(resolve))
        default: return json
        }
    }

    /// The names in `variables` with their expressions resolved.
    func resolve(_ variables: Ordered<String>) throws -> Ordered<String> { try variables.map(render) }

    private func isLeft(_ template: Template) -> Bool {
        guard leavesSteps else { return false }
        return template.readsFiles
            || template.references.contains { reference in
                let root = reference.path.first?.lowercased() ?? ""
                if Contexts.ofRunner.contains(root) { return true }
                guard !leftVariables.isEmpty, Contexts.ofVariables.contains(root) else { return false }
                return reference.path.count < 2 || leftVariables.contains(reference.path[1].lowercased())
            }
    }

    /// `if: ${{ x }}` means `if: x`.
    static func bareCondition(_ text: String) -> String {
        var bare = text[...]
        while bare.first == " " { bare.removeFirst() }
        while bare.last == " " || bare.last == "\n" { bare.removeLast() }
        guard bare.hasPrefix("${{"), bare.hasSuffix("}}"), pieces(of: String(bare)).count == 1 else {
            return String(bare)
        }
        bare = bare.dropFirst(3).dropLast(2)
        while bare.first == " " { bare.removeFirst() }
        while bare.last == " " { bare.removeLast() }
        return String(bare)
    }

    /// The text cut at `${{` and behind the `}}` that is not inside a string of the expression.
    static func pieces(of text: String) -> [String] {
        let bytes = Array(text.utf8)
        var pieces: [String] = []
        var begin = 0
        var index = 0
        func cut(_ end: Int) {
            if end > begin { pieces.append(String(decoding: bytes[begin..<end], as: UTF8.self)) }
            begin = end
        }
        while index + 2 < bytes.count {
            guard bytes[index] == UInt8(ascii: "$"), bytes[index + 1] == UInt8(ascii: "{"),
                bytes[index + 2] == UInt8(ascii: "{")
            else {
                index += 1
                continue
            }
            cut(index)
            var isInString = false
            index += 3
            while index < bytes.count {
                let isEnd =
                    !isInString && bytes[index] == UInt8(ascii: "}") && index + 1 < bytes.count
                    && bytes[index + 1] == UInt8(ascii: "}")
                if isEnd { break }
                if bytes[index] == UInt8(ascii: "'") { isInString.toggle() }
                index += 1
            }
            index = min(index + 2, bytes.count)
            cut(index)
        }
        cut(bytes.count)
        return pieces
    }
}

/// What expressions of a run can see.
enum Contexts {
    /// Context of a job's conditions and settings: run, pipeline, ref, commit, parameters, variables, matrix, needs.
    static func run(
        _ state: RunState, job: StoredJob, variables: Ordered<String>? = nil, status: Context.Status? = nil
    ) -> Context {
        var values = shared(state.stored.run, state.stored.plan.spec(around: job.key), variables ?? [:])
        let parameters = JSONValue.object(parameters(of: job, in: state))
        (values["parameters"], values["inputs"]) = (parameters, parameters)
        let known = Context(values: values.mapValues { Value($0) })
        return Context(status: status) { name in
            switch name.lowercased() {
            case "needs": Value(needs(of: job, in: state))
            case "matrix": Value(.object(job.job.matrix))
            // Most expressions read none, so they are resolved when one does.
            case "variables" where variables == nil:
                try Value(Variables(templates(of: job, in: state)).known.json)
            default: try known.lookup(name)
            }
        }
    }

    /// Variables of a job: what is known of them before it runs, and what only its runner will know.
    struct Variables {
        private(set) var known = Ordered<String>()
        /// In small letters.
        private(set) var left: Set<String> = []

        init(_ templates: Ordered<String>) throws {
            for (name, text) in templates {
                if let value = try Template(parsing: text, limit: Template.quotedBytes).constant {
                    known[name] = value
                } else {
                    left.insert(name.lowercased())
                }
            }
        }
    }

    /// Variables of a job as its runner evaluates them: of the pipeline, the environment, the stage and the job.
    static func templates(of job: StoredJob, in state: RunState) throws -> Ordered<String> {
        guard let (stage, spec) = state.stored.plan.find(job.key) else { return [:] }
        let each = state.stored.plan.stages[stage]
        let resolver = Resolver(context: run(state, job: job, variables: [:]))
        var variables = try resolver.resolve(state.stored.plan.scopes[each.scope].spec.variables)
        for (name, value) in state.gates.variables(of: job.job.key) { variables[name] = value }
        for (name, value) in try resolver.resolve(each.spec.variables) { variables[name] = value }
        for (name, value) in try resolver.resolve(spec.spec.variables) { variables[name] = value }
        return variables
    }

    /// Parameters of the pipeline that the job belongs to: the run's own, or the one that a stage uses.
    static func parameters(of job: StoredJob, in state: RunState) -> Ordered<JSONValue> {
        let plan = state.stored.plan
        guard let (stage, _) = plan.find(job.key) else { return state.stored.run.parameters }
        return parameters(ofScope: plan.stages[stage].scope, in: state)
    }

    private static func parameters(ofScope scope: Int, in state: RunState) -> Ordered<JSONValue> {
        let plan = state.stored.plan
        guard let caller = plan.scopes[scope].caller,
            let position = plan.stages[caller].jobs.first.flatMap({ state.standing.cells[$0.number].first })
        else { return state.stored.run.parameters }
        return state.jobs[position].inputs
    }

    /// `needs.STAGE.result`, `needs.STAGE.outputs.x`, `needs.STAGE.JOB.outputs.x`, and `needs.STAGE.x` for short; the
    /// same with the name of a job for a need of its own stage.
    private static func needs(of job: StoredJob, in state: RunState) -> JSONValue {
        let plan = state.stored.plan
        guard let (stage, spec) = plan.find(job.key) else { return [:] }
        var all = plan.stages[stage].needs + spec.needs
        if plan.stages[stage].isFinally {
            let scope = plan.scopes[plan.stages[stage].scope]
            all += scope.stages.map { number in
                let name = plan.stages[number].name
                return Need(name: String(name.dropFirst(scope.prefix.count)), stage: name)
            }
        }
        return needs(all, in: state)
    }

    private static func needs(_ all: [Need], in state: RunState) -> JSONValue {
        var found = Ordered<JSONValue>()
        for need in all {
            let jobs = state.jobs(of: need)
            var outputs = Ordered<JSONValue>()
            for job in jobs { for (key, value) in job.job.outputs { outputs[key] = value } }
            // Two needs of one name are two jobs, or two cells, of one stage.
            var members = found[need.name]?.object ?? [:]
            for (key, value) in outputs { members[key] = value }
            if need.job == nil || need.name != need.job {
                for (base, outcome) in byBase(jobs) { members[base] = outcome }
            }
            for (key, value) in members["outputs"]?.object ?? [:] where outputs[key] == nil { outputs[key] = value }
            members["result"] = state.outcome(of: need).result.json
            members["outputs"] = .object(outputs)
            found[need.name] = .object(members)
        }
        return .object(found)
    }

    /// Result and outputs of jobs by their names; those of the cells of a matrix together, a later cell's word counting.
    private static func byBase(_ jobs: [StoredJob]) -> Ordered<JSONValue> {
        var found = Ordered<JSONValue>()
        for (base, cells) in Dictionary(grouping: jobs, by: \.baseName).sorted(by: { $0.key < $1.key }) {
            var outputs = Ordered<JSONValue>()
            for cell in cells { for (key, value) in cell.job.outputs { outputs[key] = value } }
            found[base] = [
                "result": Outcome(of: cells.indices, in: cells).result.json, "outputs": .object(outputs),
            ]
        }
        return found
    }

    /// Context of a job's own `outputs`: the same, and `steps.ID.outputs.x`.
    static func job(_ job: StoredJob, in state: RunState) -> Context {
        var steps = Ordered<Value>()
        for step in job.job.steps {
            guard let id = step.id else { continue }
            steps[id] = Value([
                "outputs": .object(step.outputs), "outcome": step.status.json,
                "conclusion": (step.conclusion ?? step.status).json,
            ])
        }
        let known = steps
        let outer = run(state, job: job)
        return Context { name in name.lowercased() == "steps" ? .object(known) : try outer.lookup(name) }
    }

    /// Context of the `outputs` of a pipeline that a stage uses: the needs are all its stages.
    static func called(_ called: Int, in state: RunState) -> Context {
        let plan = state.stored.plan
        let scope = plan.scopes[called]
        let all = (scope.stages + scope.finally).map { number in
            let name = plan.stages[number].name
            return Need(name: String(name.dropFirst(scope.prefix.count)), stage: name)
        }
        var values = shared(state.stored.run, scope.spec, [:])
        let parameters = JSONValue.object(parameters(ofScope: called, in: state))
        (values["parameters"], values["inputs"]) = (parameters, parameters)
        let known = Context(values: values.mapValues { Value($0) })
        return Context { name in
            name.lowercased() == "needs" ? Value(needs(all, in: state)) : try known.lookup(name)
        }
    }
}
