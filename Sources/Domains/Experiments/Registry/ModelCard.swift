import API
import Manifests

/// A page about one version for people, made of what is on record (after Mitchell et al., "Model Cards", 2019).
enum ModelCard {
    static func markdown(_ evidence: ModelEvidence, title: String, description: String?) -> String {
        let one = evidence.version
        var out = "# \(title), version \(one.version)" + (one.label.map { " (\($0))" } ?? "") + "\n\n"
        for text in [description, one.description].compactMap({ $0 }) where !text.isEmpty { out += "\(text)\n\n" }
        out += section(
            "Details",
            [
                ("Format", one.format), ("Files", "\(evidence.files.count), \(ByteSize(bytes: one.size_bytes))"),
                ("Digest", code(one.digest)),
                ("Registered", "\(one.created_at)" + (one.created_by.map { " by \($0)" } ?? "")),
                ("Aliases", one.aliases.joined(separator: ", ")), ("Stage", one.stage ?? ""),
            ])
        out += section(
            "Where it comes from",
            [
                ("Pipeline", one.pipeline ?? ""), ("Run", code(one.run ?? "")), ("Commit", code(one.commit ?? "")),
                ("Data", code(one.data_digest ?? "")), ("Parent", one.parent ?? ""), ("Source", code(one.source ?? "")),
                ("Made by", one.authors.joined(separator: ", ")),
            ])
        out += schema(SchemaReading.schema(of: one.signature))
        out += section("Measured", one.metrics.map { ($0.key, "\($0.value)") })
        out += section(
            "Facts",
            one.facts.filter { $0.value.object == nil && $0.value.array == nil }.map { ($0.key, plain($0.value)) })
        out += section(
            "Hyperparameters", (one.facts["hyperparameters"]?.object ?? [:]).map { ($0.key, plain($0.value)) })
        out += section("Tags", one.tags.map { ($0.key, $0.value) })
        out += approvals(evidence.requests)
        out += "## Signature\n\n"
        out += one.signed_with.map { "Signed with key `\($0.prefix(16))…`. " } ?? "Not signed. "
        out += evidence.bom == nil ? "There is no bill of materials.\n" : "Its bill of materials is CycloneDX 1.6.\n"
        return out
    }

    private static func section(_ title: String, _ rows: [(String, String)]) -> String {
        let rows = rows.filter { !$0.1.isEmpty && $0.1 != "``" }
        guard !rows.isEmpty else { return "" }
        return "## \(title)\n\n| | |\n| --- | --- |\n"
            + rows.map { "| \(cell($0.0)) | \(cell($0.1)) |\n" }.joined() + "\n"
    }

    private static func schema(_ schema: ModelSchema) -> String {
        guard !schema.isEmpty else { return "" }
        func rows(_ columns: [ModelColumn], _ direction: String) -> String {
            columns.map { column in
                "| \(cell(column.name)) | \(column.type)\(column.shape.map { " \($0)" } ?? "") | \(direction)\(column.is_required ? "" : ", optional") |\n"
            }.joined()
        }
        return "## Takes and gives\n\n| Name | Type | |\n| --- | --- | --- |\n" + rows(schema.inputs, "input")
            + rows(schema.outputs, "output") + "\n"
    }

    private static func approvals(_ requests: [ModelRequest]) -> String {
        guard !requests.isEmpty else { return "" }
        let lines = requests.map { request in
            "- \(request.stage): \(request.status.rawValue)" + (request.reason.map { ", \($0)" } ?? "")
                + request.approvals.map { said in
                    "\n  - \(said.verdict.rawValue) by \(said.by) at \(said.at)" + (said.is_void ? " (void)" : "")
                        + (said.comment.map { ": \(cell($0))" } ?? "")
                }.joined()
        }
        return "## Approvals\n\n" + lines.joined(separator: "\n") + "\n\n"
    }

    private static func code(_ text: String) -> String { text.isEmpty ? "" : "`\(text)`" }
    private static func plain(_ value: JSONValue) -> String { value.string ?? value.text }
    /// One line, and no end of a table's cell.
    private static func cell(_ text: String) -> String {
        text.replacing("|", with: "\\|").split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}
