import Manifests

/// What a pipeline's spec can be told about itself: names, needs, cycles, references.
enum PipelineChecks {
    static let nameRule = "Use small letters, digits, \"-\" and \"_\", beginning with a letter or digit."
    /// Stages and jobs of one pipeline, cells of a matrix not counted.
    static let nodeLimit = 20_000

    static func check(_ spec: PipelineSpec) -> [ManifestError] {
        do {
            try names(in: spec)
            let graph = try PipelineGraph(spec)
            if let circle = graph.circle() { return [circle] }
            try references(in: graph)
            return []
        } catch {
            return [error]
        }
    }

    private static func names(in spec: PipelineSpec) throws(ManifestError) {
        if spec.stages.isEmpty {
            throw ManifestError(at: ["stages"], message: "a pipeline has at least one stage")
        }
        var seen: Set<String> = []
        var nodes = 0
        for (key, stages) in [("stages", spec.stages), ("finally", spec.finally)] {
            for (index, stage) in stages.enumerated() {
                let at = [key, "\(index)", "name"]
                if !isName(stage.name) {
                    throw ManifestError(at: at, message: "\"\(stage.name)\" is not a name", hint: nameRule)
                }
                if !seen.insert(stage.name).inserted {
                    throw ManifestError(
                        at: at, message: "two stages are called \"\(stage.name)\"", hint: "Rename one.")
                }
                nodes += max(1, stage.jobs.count)
            }
        }
        if nodes > nodeLimit {
            throw ManifestError(
                at: ["stages"], message: "a pipeline has at most \(nodeLimit) jobs, not \(nodes)", hint: "Split it.")
        }
    }

    /// Every `stage.output` must be left behind by a stage that surely ran before.
    private static func references(in graph: PipelineGraph) throws(ManifestError) {
        var sets: [[UInt64]]?
        for position in graph.stages.indices {
            let stage = graph.stages[position]
            for (job, definition) in graph.allJobs(of: position) {
                for (place, step) in definition.steps.enumerated() {
                    for (_, reference) in step.artifactInputs where !reference.contains("${{") {
                        let known = sets ?? graph.ancestors()
                        sets = known
                        if leaves(reference, before: position, job, graph, known) { continue }
                        let at =
                            stage.jobs.isEmpty
                            ? graph.path(position) + [step.verb.name]
                            : graph.path(position) + ["jobs", job, "steps", "\(place)", step.verb.name]
                        let left = graph.stages.indices.filter { contains($0, known[position]) }
                            .flatMap { outputs(of: $0, in: graph) }
                        throw ManifestError(
                            at: at, message: "no stage before \"\(stage.name)\" leaves \"\(reference)\" behind",
                            hint: PipelineGraph.hint(reference, left, "output"))
                    }
                }
            }
        }
    }

    private static func contains(_ stage: Int, _ set: [UInt64]) -> Bool {
        set[stage / 64] & (1 << UInt64(stage % 64)) != 0
    }

    private static func leaves(
        _ reference: String, before position: Int, _ job: String, _ graph: PipelineGraph, _ sets: [[UInt64]]
    ) -> Bool {
        guard let dot = reference.firstIndex(of: "."), let maker = graph[String(reference[..<dot])] else {
            return false
        }
        // Job's own needs: its stage, and those it names itself.
        let own = (graph.jobNeeds[position][job] ?? []).compactMap { graph[$0.stage] }
        guard contains(maker, sets[position]) || own.contains(where: { $0 == maker || contains(maker, sets[$0]) })
        else {
            return false
        }
        // What another pipeline leaves behind is known when the run is laid down.
        return graph.stages[maker].uses != nil
            || outputs(of: maker, in: graph).contains { may($0, be: reference) }
    }

    /// Whether a declared name may turn out as `text`: each `${{ … }}` in it stands for anything.
    static func may(_ name: String, be text: String) -> Bool {
        guard name.contains("${{") else { return name == text }
        var literals: [Substring] = []
        var rest = name[...]
        while let start = rest.firstRange(of: "${{") {
            literals.append(rest[..<start.lowerBound])
            rest = rest[start.upperBound...]
            rest = rest.firstRange(of: "}}").map { rest[$0.upperBound...] } ?? ""
        }
        var left = text[...]
        guard let first = literals.first, left.hasPrefix(first) else { return false }
        left = left.dropFirst(first.count)
        for literal in literals.dropFirst() where !literal.isEmpty {
            guard let found = left.firstRange(of: literal) else { return false }
            left = left[found.upperBound...]
        }
        return left.hasSuffix(rest)
    }

    private static func outputs(of stage: Int, in graph: PipelineGraph) -> [String] {
        graph.allJobs(of: stage).flatMap { _, job in
            job.steps.flatMap(\.artifactOutputs) + job.artifacts.map(\.name)
        }.map { "\(graph.stages[stage].name).\($0)" }
    }

    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 63 else { return false }
        func isWord(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) }
        return isWord(first) && text.utf8.allSatisfy { isWord($0) || $0 == 0x2D || $0 == 0x5F }
    }
}

extension PipelineSpec {
    /// Names of the stages that the stage waits for: its needs, or, when it names none, the stage written before it.
    public func needs(of name: String) -> [String] {
        guard let index = stages.firstIndex(where: { $0.name == name }) else { return [] }
        guard let needs = stages[index].needs else { return index == 0 ? [] : [stages[index - 1].name] }
        return needs.compactMap { need in
            need.stage ?? need.name.map { name in name.firstIndex(of: "/").map { String(name[..<$0]) } ?? name }
        }
    }

    /// All its stages, those that run at the end included.
    public var allStages: [StageSpec] { stages + finally }
}

/// Whether `text` may name a resource: small letters, digits, "-", "_", at most 63.
public func isResourceName(_ text: String) -> Bool { PipelineChecks.isName(text) }
