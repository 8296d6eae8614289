import Manifests

/// What a pipeline's spec can be told about itself: names, needs, cycles, references.
enum PipelineChecks {
    static let nameRule = "Use small letters, digits, \"-\" and \"_\", beginning with a letter or digit."

    static func check(_ spec: PipelineSpec) -> [ManifestError] {
        var errors: [ManifestError] = []
        var seen: [String] = []
        if spec.stages.isEmpty {
            errors.append(ManifestError(at: ["stages"], message: "a pipeline has at least one stage"))
        }
        for (index, stage) in spec.stages.enumerated() {
            let at = ["stages", "\(index)"]
            if !isName(stage.name) {
                errors.append(
                    ManifestError(at: at + ["name"], message: "\"\(stage.name)\" is not a name", hint: nameRule))
            }
            if seen.contains(stage.name) {
                errors.append(
                    ManifestError(
                        at: at + ["name"], message: "two stages are called \"\(stage.name)\"", hint: "Rename one."))
            }
            seen.append(stage.name)
        }
        for (index, stage) in spec.stages.enumerated() {
            for (position, need) in (stage.needs ?? []).enumerated() where !seen.contains(need) {
                errors.append(
                    ManifestError(
                        at: ["stages", "\(index)", "needs", "\(position)"],
                        message: "no stage \"\(need)\" in this pipeline",
                        hint: suggestion(for: need, among: seen, called: "stage")))
            }
        }
        if errors.isEmpty, let cycle = cycle(in: spec) {
            errors.append(
                ManifestError(
                    at: ["stages"], message: "stages wait for each other: \(cycle.joined(separator: " → "))",
                    hint: "Take one of these needs away."))
        }
        return errors + (errors.isEmpty ? references(in: spec) : [])
    }

    /// Every `stage.output` must be left behind by a stage that surely ran before.
    private static func references(in spec: PipelineSpec) -> [ManifestError] {
        var errors: [ManifestError] = []
        for (index, stage) in spec.stages.enumerated() {
            let before = ancestors(of: stage.name, in: spec)
            for (job, definition) in stage.allJobs {
                for (position, step) in definition.steps.enumerated() {
                    for (_, reference) in step.artifactInputs where !reference.contains("${{") {
                        let at =
                            stage.jobs.isEmpty
                            ? ["stages", "\(index)", step.verb.name]
                            : ["stages", "\(index)", "jobs", job, "steps", "\(position)", step.verb.name]
                        let left = before.flatMap { outputs(of: $0, in: spec) }
                        if !left.contains(reference) {
                            errors.append(
                                ManifestError(
                                    at: at, message: "no stage before \"\(stage.name)\" leaves \"\(reference)\" behind",
                                    hint: suggestion(for: reference, among: left, called: "output")))
                        }
                    }
                }
            }
        }
        return errors
    }

    private static func outputs(of name: String, in spec: PipelineSpec) -> [String] {
        guard let stage = spec.stages.first(where: { $0.name == name }) else { return [] }
        return stage.allJobs.flatMap { _, job in
            job.steps.flatMap(\.artifactOutputs) + job.artifacts.map(\.name)
        }.map { "\(name).\($0)" }
    }

    private static func ancestors(of name: String, in spec: PipelineSpec) -> [String] {
        var found: [String] = []
        var queue = spec.needs(of: name)
        while let next = queue.popLast() {
            if found.contains(next) { continue }
            found.append(next)
            queue += spec.needs(of: next)
        }
        return found
    }

    private static func cycle(in spec: PipelineSpec) -> [String]? {
        enum Mark { case open, done }
        var marks: [String: Mark] = [:]
        func visit(_ name: String, _ trail: [String]) -> [String]? {
            if marks[name] == .open { return Array(trail.drop { $0 != name }) + [name] }
            if marks[name] == .done { return nil }
            marks[name] = .open
            for need in spec.needs(of: name) {
                if let found = visit(need, trail + [name]) { return found }
            }
            marks[name] = .done
            return nil
        }
        for stage in spec.stages {
            if let found = visit(stage.name, []) { return found }
        }
        return nil
    }

    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 63 else { return false }
        func isWord(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) }
        return isWord(first) && text.utf8.allSatisfy { isWord($0) || $0 == 0x2D || $0 == 0x5F }
    }
}

extension PipelineSpec {
    /// What the stage waits for: its needs, or, when it names none, the stage written before it.
    public func needs(of name: String) -> [String] {
        guard let index = stages.firstIndex(where: { $0.name == name }) else { return [] }
        return stages[index].needs ?? (index == 0 ? [] : [stages[index - 1].name])
    }
}

/// Whether `text` may name a resource: small letters, digits, "-", "_", at most 63.
public func isResourceName(_ text: String) -> Bool { PipelineChecks.isName(text) }
