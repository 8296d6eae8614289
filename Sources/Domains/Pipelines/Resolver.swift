import API
import Expressions
import Manifests

/// Replaces `${{ … }}` in text by values.
struct Resolver: Sendable {
    var context: Context
    /// Whether expressions that read what only the runner knows (`steps`, `env`, files) are kept for it.
    var leavesSteps = true

    /// The text with every expression replaced; those that read `steps` and the like may be left for the runner.
    func resolve(_ text: String) throws -> JSONValue {
        guard text.contains("${{") else { return .string(text) }
        let pieces = Self.pieces(of: text)
        if pieces.count == 1, let only = pieces.first {
            let template = try Template(parsing: only)
            return isLeft(template) ? .string(only) : try template.evaluate(in: context).jsonValue
        }
        var out = ""
        for piece in pieces {
            let template = try Template(parsing: piece)
            out += template.isPlain || isLeft(template) ? piece : try template.render(in: context)
        }
        return .string(out)
    }

    func render(_ text: String) throws -> String {
        let value = try resolve(text)
        return value.string ?? Value(value).text
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
            || template.references.contains { Contexts.ofRunner.contains($0.path.first?.lowercased() ?? "") }
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
    /// Context of a stage's `if` and of a job's settings: run, pipeline, ref, commit, parameters, variables, needs.
    static func run(
        _ state: RunState, needs: [String], variables: Ordered<String> = [:], status: Context.Status? = nil
    ) -> Context {
        var values = shared(state.stored.run, state.stored.spec, variables)
        values["needs"] = Self.needs(needs, in: state)
        return Context(values: values.mapValues { Value($0) }, status: status)
    }

    /// `needs.STAGE.result`, `needs.STAGE.outputs.x`, `needs.STAGE.JOB.outputs.x`, and `needs.STAGE.x` for short.
    private static func needs(_ names: [String], in state: RunState) -> JSONValue {
        var all = Ordered<JSONValue>()
        for name in names {
            let jobs = state.jobs.filter { $0.job.stage == name }
            var outputs = Ordered<JSONValue>()
            for job in jobs { for (key, value) in job.job.outputs { outputs[key] = value } }
            var stage = outputs
            for job in jobs {
                stage[job.job.name] = ["result": job.job.status.json, "outputs": .object(job.job.outputs)]
            }
            stage["result"] = Stage(named: name, in: state).result.json
            stage["outputs"] = .object(outputs)
            all[name] = .object(stage)
        }
        return .object(all)
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
        let outer = run(state, needs: job.job.needs)
        return Context { name in name == "steps" ? .object(known) : try outer.lookup(name) }
    }
}
