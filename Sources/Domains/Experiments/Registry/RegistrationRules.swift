import API
import Manifests

/// What a model's manifest asks of a version that is registered; pure.
enum RegistrationRules {
    /// The first rule that the version does not fulfil; nil when it may be registered.
    ///
    /// - Parameters:
    ///   - before: Signature of the newest version.
    ///   - sample: Rows that the version brings, if any.
    static func refusal(
        of version: ModelVersion, _ spec: ModelSpec, before: ModelSchema?, sample: JSONValue?
    ) -> Problem? {
        let own = SchemaReading.schema(of: version.signature)
        if let only = spec.format, only.rawValue != version.format {
            return Problem(
                "model.format", status: 409,
                "model \"\(version.model)\" takes only the format \"\(only.rawValue)\", not \"\(version.format)\"",
                hint: "Change `format` in its manifest, or register under another name.")
        }
        if let name = spec.required.first(where: { !has($0, version) }) {
            return rule(version, "wants \"\(name)\", and the version does not bring it", "Add it as a tag or a fact.")
        }
        if let promised = spec.signature, let gap = SchemaChange.missing(promised, in: own).first {
            return rule(version, "promises another signature: \(gap)", "Compare it with `signature` in its manifest.")
        }
        if let before, !before.isEmpty,
            let broken = SchemaChange.breaks(from: before, to: own, spec.compatibility).first
        {
            return rule(
                version, "is to stay compatible (\(spec.compatibility.rawValue)) with its newest version: \(broken)",
                "Register under another name, or change `compatibility` in its manifest.")
        }
        return values(of: version, own, spec.validation, sample)
    }

    private static func values(
        of version: ModelVersion, _ own: ModelSchema, _ rules: ModelValidationSpec, _ sample: JSONValue?
    ) -> Problem? {
        for (name, bound) in rules.metrics {
            guard let value = version.metrics[name], value.isFinite else {
                return rule(version, "wants the metric \"\(name)\"", "Evaluate the model before it is registered.")
            }
            if let min = bound.min, value < min {
                return rule(version, "wants \"\(name)\" of at least \(min), and it is \(value)", "Train it better.")
            }
            if let max = bound.max, value > max {
                return rule(version, "wants \"\(name)\" of at most \(max), and it is \(value)", "Train it better.")
            }
        }
        if let most = rules.max_size, version.size_bytes > most.bytes {
            return rule(
                version, "takes at most \(most), and the files have \(ByteSize(bytes: version.size_bytes))",
                "Leave out what serving does not need.")
        }
        if rules.loads, let refusal = loading(version) { return refusal }
        guard rules.sample else { return nil }
        guard let sample else {
            return rule(
                version, "wants rows to try, and the version brings none",
                "Log the model with input_example=…, or put rows into sample.json.")
        }
        return SampleCheck.problem(sample, own).map {
            rule(version, "wants its signature to fit: \($0)", "Log the signature of the rows that it was trained on.")
        }
    }

    private static func loading(_ version: ModelVersion) -> Problem? {
        guard let told = version.facts[Intaking.loadingFact] else {
            return rule(
                version, "wants its files to load, and nothing here can load these",
                "Register a folder with model.ubj or model.json, or leave out `validation.loads`.")
        }
        if told["loads"] == true { return nil }
        return rule(
            version, "wants its files to load: \(told["reason"]?.string ?? "they do not")",
            "Try it: vagus serve --model FOLDER --check.")
    }

    private static func rule(_ version: ModelVersion, _ words: String, _ hint: String) -> Problem {
        Problem("model.rule", status: 422, "model \"\(version.model)\" \(words)", hint: hint)
    }

    private static func has(_ name: String, _ version: ModelVersion) -> Bool {
        switch name {
        case "run": version.run != nil
        case "commit": version.commit != nil
        case "data_digest": version.data_digest != nil
        case "parent": version.parent != nil
        case "signature": !SchemaReading.schema(of: version.signature).isEmpty
        case "description": !(version.description ?? "").isEmpty
        default: version.facts[name] != nil || version.tags[name] != nil || version.metrics[name] != nil
        }
    }
}
