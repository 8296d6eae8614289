import API
import Manifests

/// A rule file of Prometheus: `groups: [{ name, interval, rules: [{ record, expr, labels }] }]`.
struct RuleFile {
    var groups: [RuleGroupSpec]

    /// - Parameter json: The file's content as a map, or its text.
    init(_ json: JSONValue) throws(ManifestError) {
        var content = json
        if let text = json.string { content = try YAML.documents(text).first?.value ?? [:] }
        guard let list = content["groups"]?.array else {
            throw ManifestError(
                at: [], message: "a rule file has a list \"groups\"",
                hint: "Write it as Prometheus takes it: `groups: [{ name: …, rules: […] }]`.")
        }
        groups = []
        for (index, group) in list.enumerated() {
            groups.append(try RuleGroupSpec(json: group, at: ["groups", "\(index)"]))
        }
    }
}
