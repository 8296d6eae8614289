import API
import Expressions
import Kernel
import Manifests

/// What a repository or pipeline must keep before it is put: expressions that parse, jobs that somebody can carry out.
enum Admission {
    static func check(_ candidate: Candidate) throws {
        if let spec = candidate.spec(of: PipelineKind.self) { try check(spec) }
        if let spec = candidate.spec(of: EnvironmentKind.self) { try GateAdmission.check(spec) }
        guard let spec = candidate.spec(of: RepositoryKind.self) else { return }
        if let path = spec.path, !path.hasPrefix("/") {
            throw ManifestError(
                at: ["path"], message: "\"\(path)\" is not an absolute path",
                hint: "Write the whole path, beginning with \"/\".")
        }
        try check(spec)
    }

    static func check(_ spec: PipelineSpec) throws(ManifestError) {
        try templates(in: spec.variables, at: ["variables"], evaluated: .onRunner)
        try triggers(of: spec)
        try templates(in: spec.outputs, at: ["outputs"])
        if let group = spec.concurrency?.group { try templates(in: .string(group), at: ["concurrency", "group"]) }
        for (key, stages) in [("stages", spec.stages), ("finally", spec.finally)] {
            for (index, stage) in stages.enumerated() { try check(stage, at: [key, "\(index)"]) }
        }
    }

    private static func check(_ stage: StageSpec, at path: [String]) throws(ManifestError) {
        if let condition = stage.if { try self.condition(condition, at: path + ["if"]) }
        try templates(in: stage.variables, at: path + ["variables"], evaluated: .onRunner)
        try environment(stage.environment, at: path)
        if let group = stage.concurrency?.group {
            try templates(in: .string(group), at: path + ["concurrency", "group"])
        }
        if let uses = stage.uses { return try templates(in: uses.with.json, at: path + ["uses", "with"]) }
        for (name, job) in stage.allJobs {
            if !isResourceName(name) { throw notAName(name, at: path + ["jobs", name]) }
            try check(job, at: stage.jobs.isEmpty ? path : path + ["jobs", name], isLone: stage.jobs.isEmpty)
        }
    }

    private static func check(_ job: JobSpec, at path: [String], isLone: Bool) throws(ManifestError) {
        try names(in: job, at: path)
        try GateAdmission.check(job, at: path)
        if job.steps.isEmpty {
            throw ManifestError(at: path + ["steps"], message: "a job has at least one step")
        }
        try templates(in: job.variables, at: path + ["variables"], evaluated: .onRunner)
        try templates(in: job.outputs, at: path + ["outputs"], evaluated: .afterSteps)
        try environment(job.environment, at: path)
        try templates(in: job.runs_on.labels.json, at: path + ["runs_on", "labels"])
        for (name, part) in [
            ("artifacts", job.artifacts.json), ("reports", job.reports.json), ("cache", job.cache.json),
            ("container", job.container?.json ?? .null), ("services", job.services.json),
        ] { try templates(in: part, at: path + [name], evaluated: .onRunner) }
        if let condition = job.if { try self.condition(condition, at: path + ["if"]) }
        if let matrix = job.matrix { try templates(in: matrix.json, at: path + ["matrix"]) }
        if let group = job.concurrency?.group {
            try templates(in: .string(group), at: path + ["concurrency", "group"])
        }
        for (index, step) in job.steps.enumerated() {
            let at = isLone ? path : path + ["steps", "\(index)"]
            let verb = step.verb
            if StepVerbs.serverSide.contains(verb.name) != job.isOnServer {
                throw ManifestError(
                    at: at, message: "\"\(verb.name)\" cannot share a job with \"\(job.steps[0].verb.name)\"",
                    hint:
                        "The server does register, deploy and watch itself, a runner does the rest: give each its own job."
                )
            }
            if let condition = step.if { try self.condition(condition, at: at + ["if"], evaluated: .onRunner) }
            try templates(in: verb.settings, at: at + [verb.name], evaluated: .onRunner)
            try templates(in: step.variables, at: at + ["variables"], evaluated: .onRunner)
            try templates(in: step.env, at: at + ["env"], evaluated: .onRunner)
            for (name, text) in [("name", step.name), ("working_directory", step.working_directory)] {
                if let text { try templates(in: .string(text), at: at + [name], evaluated: .onRunner) }
            }
        }
    }

    /// A gate is bound to the environment that is known when a run is laid down.
    private static func environment(_ name: String?, at path: [String]) throws(ManifestError) {
        guard let name, name.contains("${{") else { return }
        throw ManifestError(
            at: path + ["environment"], message: "the name of an environment is no expression",
            hint: "Write a job for each environment, with an \"if\" that says when it is the one.")
    }

    /// Names that become names of files.
    private static func names(in job: JobSpec, at path: [String]) throws(ManifestError) {
        for (index, artifact) in job.artifacts.enumerated()
        where !isResourceName(artifact.name) && !artifact.name.contains("${{") {
            throw notAName(artifact.name, at: path + ["artifacts", "\(index)", "name"])
        }
    }

    private static func notAName(_ text: String, at path: [String]) -> ManifestError {
        ManifestError(
            at: path, message: "\"\(text)\" is not a name",
            hint: "Use small letters, digits, \"-\" and \"_\", beginning with a letter or digit.")
    }

    static func condition(
        _ text: String, at path: [String], evaluated place: Contexts.Place = .onServer
    ) throws(ManifestError) {
        let expression: Expression
        do {
            expression = try Expression(parsing: Resolver.bareCondition(text))
        } catch {
            throw ManifestError(at: path, message: "the expression cannot be read: \(error)", hint: error.hint)
        }
        try Contexts.check(expression.references, readsFiles: expression.readsFiles, at: path, evaluated: place)
    }

    private static func templates(
        in words: Ordered<String>, at path: [String], evaluated place: Contexts.Place = .onServer
    ) throws(ManifestError) {
        for (key, text) in words { try templates(in: .string(text), at: path + [key], evaluated: place) }
    }

    static func templates(
        in json: JSONValue, at path: [String], evaluated place: Contexts.Place = .onServer
    ) throws(ManifestError) {
        switch json {
        case .string(let text):
            guard text.utf8.contains(UInt8(ascii: "$")), text.contains("${{") else { return }
            let template: Template
            do {
                template = try Template(parsing: text)
            } catch {
                throw ManifestError(at: path, message: "the expression cannot be read: \(error)", hint: error.hint)
            }
            try Contexts.check(template.references, readsFiles: template.readsFiles, at: path, evaluated: place)
        case .array(let items):
            for (index, item) in items.enumerated() {
                try templates(in: item, at: path + ["\(index)"], evaluated: place)
            }
        case .object(let members):
            for (key, value) in members { try templates(in: value, at: path + [key], evaluated: place) }
        default: break
        }
    }
}
