import API
import Manifests

/// What a kind, or a field of it, is for: read off the same table that decodes it.
enum Explanation {
    static func text(_ kind: any Kind.Type, path: [String]) throws(Problem) -> String {
        var schema = specSchema(kind)
        var walked = kind.name
        for name in path {
            let inner = schema.items.first ?? schema.values.first ?? schema
            let names = inner.properties.map(\.name)
            guard let field = inner.properties.first(where: { $0.name == name }) else {
                throw Problem(
                    "explain.unknown", status: 404, "\"\(walked)\" has no field \"\(name)\"",
                    hint: suggestion(for: name, among: names, called: "field"))
            }
            schema = field.schema
            walked += ".\(name)"
        }
        let summary = path.isEmpty ? kind.summary : schema.description ?? ""
        var out = "\(Terminal.styled(walked, .bold))  \(path.isEmpty ? "" : schema.shortType)\n  \(summary)\n"
        if let value = schema.defaultValue { out += "  Default: \(value.text)\n" }
        if let range = schema.range { out += "  From \(range.lowerBound) to \(range.upperBound)\n" }
        let inner = schema.items.first ?? schema.values.first ?? schema
        guard !inner.properties.isEmpty else { return out }
        if !inner.exactlyOne.isEmpty { out += "  Exactly one of: \(inner.exactlyOne.joined(separator: ", "))\n" }
        out += "\nFIELDS\n"
        for (name, field) in inner.properties {
            let need = inner.required.contains(name) ? " (required)" : ""
            out += "  \(Terminal.styled(name, .bold))  \(field.shortType)\(need)\n      \(field.description ?? "")\n"
        }
        return out
    }

    static func specSchema(_ kind: any Kind.Type) -> Schema {
        func schema<K: Kind>(_ kind: K.Type) -> Schema { K.Spec.schema }
        return schema(kind)
    }
}

/// The JSON Schema of a manifest: the spec's fields with kind, name, project and labels around them.
enum KindSchema {
    static func json(_ kind: any Kind.Type) -> JSONValue {
        var schema = Explanation.specSchema(kind)
        var kindField = Schema(type: "string", description: "What kind of thing it is.")
        kindField.cases = [kind.name]
        var labels = Schema(type: "object", description: "Words to find it by.")
        labels.values = [Schema(type: "string")]
        schema.title = kind.name
        schema.description = kind.summary
        schema.properties =
            [
                ("kind", kindField),
                ("name", Schema(type: "string", description: "Its name, unique in its kind and project.")),
                ("project", Schema(type: "string", description: "Project it is in.")), ("labels", labels),
            ] + schema.properties
        schema.required = ["kind", "name"] + schema.required
        var out = schema.json.object ?? [:]
        out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        return .object(out)
    }
}
