import API
import Globs
import Manifests

/// What a pipeline's triggers must keep before they are put.
extension Admission {
    static func triggers(of spec: PipelineSpec) throws(ManifestError) {
        for (index, trigger) in spec.triggers.enumerated() {
            let at = ["triggers", "\(index)"]
            do {
                try check(trigger)
            } catch {
                throw error.below(at)
            }
        }
        for (name, parameter) in spec.parameters {
            do {
                try parameter.check(name)
            } catch {
                throw error.below(["parameters", name])
            }
        }
    }

    private static func check(_ trigger: TriggerSpec) throws(ManifestError) {
        if let condition = trigger.if { try self.condition(condition, at: ["if"]) }
        try templates(in: .object(trigger.parameters), at: ["parameters"])
        if let push = trigger.push {
            try lists(
                "push", ["branches": push.branches, "tags": push.tags, "paths": push.paths])
        }
        if let tag = trigger.tag { try lists("tag", ["names": tag.names]) }
        if let pull = trigger.pull_request {
            try lists("pull_request", ["branches": pull.branches, "paths": pull.paths])
        }
        if let pipeline = trigger.pipeline { try lists("pipeline", ["branches": pipeline.branches]) }
        if let schedule = trigger.schedule {
            do throws(ManifestError) {
                guard try Schedule(schedule).next(after: .zero) != nil else {
                    throw ManifestError(
                        at: ["cron"], message: "\"\(schedule.cron)\" never comes",
                        hint: "No month has that day.")
                }
            } catch {
                throw error.below(["schedule"])
            }
        }
    }

    /// A list that only takes away names nothing.
    private static func lists(_ trigger: String, _ lists: Ordered<[String]>) throws(ManifestError) {
        for (name, patterns) in lists where GlobList(patterns).isVain {
            throw ManifestError(
                at: [trigger, name], message: "\"\(name)\" has nothing but patterns that take away",
                hint: "Begin the list with \"**\".")
        }
    }
}

extension Admission {
    /// Schemes by which git may be sent out; `ext::` and the like would run programs.
    private static let schemes = ["https://", "http://", "ssh://", "git://", "file:///"]

    static func check(_ spec: RepositorySpec) throws(ManifestError) {
        guard !spec.default_branch.isEmpty, !spec.default_branch.contains(where: \.isWhitespace) else {
            throw ManifestError(
                at: ["default_branch"], message: "\"\(spec.default_branch)\" cannot be a branch", hint: "Write main.")
        }
        guard let remote = spec.remote else { return }
        let isShort = remote.url.firstIndex(of: ":").map { remote.url[..<$0].contains("@") } ?? false
        guard schemes.contains(where: remote.url.hasPrefix) || isShort, !remote.url.hasPrefix("-"),
            !remote.url.contains("::"), !remote.url.contains(where: \.isWhitespace)
        else {
            throw ManifestError(
                at: ["remote", "url"], message: "\"\(remote.url)\" is no address of a repository",
                hint: "Write it like https://HOST/OWNER/NAME.git or git@HOST:OWNER/NAME.git.")
        }
        if let api = remote.api, !api.hasPrefix("https://"), !api.hasPrefix("http://") {
            throw ManifestError(
                at: ["remote", "api"], message: "\"\(api)\" is no address", hint: "Write https://HOST/PATH.")
        }
        if remote.forge == nil, remote.webhook_secret != nil {
            throw ManifestError(
                at: ["remote", "webhook_secret"], message: "nobody knows whose webhooks these are",
                hint: "Add `forge: github`, gitlab, gitea or bitbucket.")
        }
    }
}

extension ParameterSpec {
    /// Whether the declaration itself holds.
    func check(_ name: String) throws(ManifestError) {
        if let pattern {
            guard (try? Regex<AnyRegexOutput>(pattern)) != nil else {  // asks whether it is one
                throw ManifestError(
                    at: ["pattern"], message: "\"\(pattern)\" is not a regular expression",
                    hint: "Write it like [a-z]+-[0-9]+; it must match the whole value.")
            }
        }
        if let value = self.default {
            do {
                try hold(try Parameters.coerce(value, to: type, name: name), name: name)
            } catch {
                throw ManifestError(at: ["default"], message: error.message, hint: error.hint)
            }
        }
    }

    /// Whether a value is one of its choices and fits its pattern.
    func hold(_ value: JSONValue, name: String) throws(Problem) {
        if !choices.isEmpty {
            let allowed = choices.map { $0.string ?? $0.text }
            guard allowed.contains(value.string ?? value.text) else {
                throw Problem(
                    "parameter.choice", status: 422,
                    "the parameter \"\(name)\" cannot be \"\((value.string ?? value.text).prefix(80))\"",
                    hint: "Give one of: \(allowed.joined(separator: ", ")).", location: "parameters.\(name)")
            }
        }
        if let pattern {
            let text = value.string ?? value.text
            guard let regex = try? Regex<AnyRegexOutput>(pattern),  // was read when the pipeline was put
                (try? regex.wholeMatch(in: text)) != nil  // no match
            else {
                throw Problem(
                    "parameter.pattern", status: 422,
                    "the parameter \"\(name)\" does not match \(pattern)",
                    hint: "It was given as: \(text.prefix(80))", location: "parameters.\(name)")
            }
        }
    }
}
