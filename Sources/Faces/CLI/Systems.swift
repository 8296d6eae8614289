import API
import Manifests

/// The systems that vagus is, with the keys that were asked for and the manifest field that serves each.
///
/// What a field is for is read off the kinds, so that nothing here can say more than there is.
enum Systems {
    struct Row {
        var system: String
        var part: String
        var key: String
        /// `Kind.field.field`; the first one that there is counts.
        var fields: [String]
    }

    private static func rows(_ system: String, _ part: String, _ keys: [(String, [String])]) -> [Row] {
        keys.map { Row(system: system, part: part, key: $0.0, fields: $0.1) }
    }

    static let table: [Row] =
        rows(
            "S1 CI/CD pipeline", "pipeline",
            [
                ("id", ["pipeline.name"]), ("triggers", ["pipeline.triggers"]),
                ("environments", ["pipeline.stages.environment", "pipeline.stages.variables"]),
                ("approval_gates", ["environment.approval_gates", "pipeline.stages.type"]),
                ("rollback", ["pipeline.rollback", "service.rollout"]), ("stages", ["pipeline.stages"]),
            ])
        + rows(
            "S1 CI/CD pipeline", "stage",
            [
                ("name", ["pipeline.stages.name"]), ("type", ["pipeline.stages.type"]),
                ("jobs", ["pipeline.stages.jobs"]), ("dependencies", ["pipeline.stages.needs"]),
                ("parallel", ["pipeline.stages.max_parallel", "pipeline.stages.jobs"]),
                ("timeout", ["pipeline.stages.timeout"]),
            ])
        + rows(
            "S1 CI/CD pipeline", "job",
            [
                ("name", ["pipeline.stages.jobs"]), ("type", ["pipeline.stages.type"]),
                ("steps", ["pipeline.stages.jobs.steps"]), ("resources", ["pipeline.stages.jobs.runs_on"]),
                ("environment", ["pipeline.stages.jobs.environment", "pipeline.stages.jobs.variables"]),
                ("artifacts", ["pipeline.stages.jobs.artifacts"]),
            ])

    /// What is said of a field; nil when there is none.
    static func words(for field: String) -> String? {
        let parts = field.split(separator: ".").map(String.init)
        guard parts.count > 1, let kind = try? Kinds.named(parts[0]) else { return nil }  // no kind: no field
        if parts.count == 2, parts[1] == "name" { return "Its name, unique in its kind and project." }
        var schema = Explanation.specSchema(kind)
        for name in parts.dropFirst() {
            let inner = schema.items.first ?? schema.values.first ?? schema
            guard let found = inner.properties.first(where: { $0.name == name }) else { return nil }
            schema = found.schema
        }
        return schema.description ?? ""
    }

    static var text: String {
        var out = ""
        var heading = ""
        for system in table.map(\.system) where system != heading {
            heading = system
            out += Terminal.styled(system, .bold) + "\n"
            var shown = Table(["PART", "KEY", "FIELD", "WHAT IT IS FOR"])
            for row in table where row.system == system {
                let field = row.fields.first { words(for: $0) != nil } ?? "-"
                shown.rows.append([row.part, row.key, field, words(for: field) ?? ""])
            }
            out += shown.text
        }
        let types = StageType.allCases.map(\.rawValue).joined(separator: ", ")
        return out + "\nTypes of stages: \(types)\n"
    }
}
