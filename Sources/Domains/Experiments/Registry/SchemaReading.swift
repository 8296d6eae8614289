import API
import Manifests

/// Signatures of every dialect in one form; pure.
///
/// Known dialects: Vagus's own (`inputs` of names and types, one `output`), MLflow's (`inputs` and `outputs`, lists of
/// column or tensor specs, often as a text of JSON within the YAML), the Open Inference Protocol's (`datatype`, `shape`).
enum SchemaReading {
    /// The signature, as far as it can be understood; what cannot is left out.
    static func schema(of signature: JSONValue) -> ModelSchema {
        var schema = ModelSchema()
        schema.inputs = columns(signature["inputs"])
        schema.outputs = columns(signature["outputs"] ?? signature["output"])
        return schema
    }

    private static func columns(_ value: JSONValue?) -> [ModelColumn] {
        guard let value else { return [] }
        if let text = value.string {
            // MLflow writes the list as a text.
            guard let parsed = try? JSONParser.parse(text) else { return [] }  // another text names nothing
            return columns(parsed)
        }
        if let one = value.object { return [column(.object(one))].compactMap { $0 } }
        return (value.array ?? []).compactMap(column)
    }

    private static func column(_ value: JSONValue) -> ModelColumn? {
        let name = value["name"]?.string ?? ""
        let isRequired = value["required"]?.bool ?? value["is_required"]?.bool ?? !(value["optional"]?.bool ?? false)
        if value["type"]?.string == "tensor", let spec = value["tensor-spec"] {
            let shape = (spec["shape"]?.array ?? []).compactMap(\.int)
            return ModelColumn(name, type(spec["dtype"]?.string ?? ""), shape: shape, isRequired: isRequired)
        }
        guard let word = (value["type"] ?? value["datatype"])?.string else { return nil }
        var shape = value["shape"]?.array?.compactMap(\.int)
        if shape == nil, let size = value["size"]?.int, size > 1 { shape = [-1, size] }
        return ModelColumn(name, type(word), shape: shape, isRequired: isRequired)
    }

    /// One word for each type, whatever a dialect calls it.
    static func type(_ word: String) -> String {
        switch word.lowercased() {
        case "bool", "boolean": "boolean"
        case "int8", "int16", "int32", "int", "integer", "uint8", "uint16": "integer"
        case "int64", "long", "uint32": "long"
        case "fp16", "fp32", "float16", "float32", "float": "float"
        case "fp64", "float64", "double": "double"
        case "bytes", "str", "string", "object", "category", "categorical": "string"
        case "datetime64", "datetime64[ns]", "datetime", "date": "datetime"
        case let other: other
        }
    }
}

/// What a new signature owes an old one; pure.
enum SchemaChange {
    /// Why somebody who calls `old` cannot call `new` in its place; empty when they can.
    ///
    /// Inputs may be left out, added as optional ones, and widened; outputs may be added and narrowed.
    static func breaks(from old: ModelSchema, to new: ModelSchema) -> [String] {
        var found: [String] = []
        for column in new.inputs {
            guard let before = old.inputs.first(where: { $0.name == column.name }) else {
                if column.is_required, !old.inputs.isEmpty {
                    found.append("input \(quoted(column)) is new and required")
                }
                continue
            }
            if column.is_required, !before.is_required { found.append("input \(quoted(column)) is required now") }
            if !accepts(column.type, before.type) {
                found.append("input \(quoted(column)) takes \(column.type), and took \(before.type)")
            } else if !fits(before.shape, into: column.shape) {
                found.append("input \(quoted(column)) takes \(words(column.shape)), and took \(words(before.shape))")
            }
        }
        // No inputs at all says that nothing is known of them, not that nothing is taken.
        if new.inputs.isEmpty, !old.inputs.isEmpty { found.append("its inputs are not told any more") }
        for column in old.outputs {
            guard let after = new.outputs.first(where: { $0.name == column.name }) else {
                found.append("output \(quoted(column)) is gone")
                continue
            }
            if !accepts(column.type, after.type) {
                found.append("output \(quoted(column)) gives \(after.type), and gave \(column.type)")
            } else if !fits(after.shape, into: column.shape) {
                found.append("output \(quoted(column)) gives \(words(after.shape)), and gave \(words(column.shape))")
            }
        }
        return found
    }

    /// What keeps a new signature from following an old one under a rule.
    static func breaks(from old: ModelSchema, to new: ModelSchema, _ rule: ModelSpec.Compatibility) -> [String] {
        switch rule {
        case .none: []
        case .backward: breaks(from: old, to: new)
        case .full: breaks(from: old, to: new) + breaks(from: new, to: old).map { "the other way round, \($0)" }
        }
    }

    /// Why a version's signature is not what its model promises.
    static func missing(_ promised: ModelSchema, in own: ModelSchema) -> [String] {
        breaks(from: promised, to: own)
    }

    /// Whether a value of type `given` may stand where `wanted` is asked for: no bit of it is lost.
    static func accepts(_ wanted: String, _ given: String) -> Bool {
        let wider: [String: Set<String>] = [
            "boolean": ["integer", "long", "float", "double"], "integer": ["long", "double"], "float": ["double"],
        ]
        return wanted == given || wanted == "any" || (wider[given]?.contains(wanted) ?? false)
    }

    private static func fits(_ given: [Int]?, into wanted: [Int]?) -> Bool {
        guard let given, let wanted else { return true }
        return given.count == wanted.count && zip(given, wanted).allSatisfy { $1 == -1 || $0 == $1 }
    }

    private static func quoted(_ column: ModelColumn) -> String { "\"\(column.name)\"" }
    private static func words(_ shape: [Int]?) -> String {
        "[" + (shape ?? []).map(String.init).joined(separator: ", ") + "]"
    }
}

/// Rows that a version brings along, held against its signature; pure.
enum SampleCheck {
    /// Rows looked at.
    static let rowLimit = 1000

    /// Why the sample does not fit; nil when it does.
    ///
    /// - Parameter sample: As MLflow writes examples: `{columns, data}`, `{inputs: …}`, `{dataframe_split: …}`,
    ///   `{dataframe_records: …}`; or a list of records, or `{column: [values]}`.
    static func problem(_ sample: JSONValue, _ schema: ModelSchema) -> String? {
        guard let rows = rows(sample), !rows.isEmpty else { return "the sample has no rows" }
        for (index, row) in rows.prefix(rowLimit).enumerated() {
            for column in schema.inputs where !column.name.isEmpty {
                guard let value = row[column.name], !value.isNull else {
                    if column.is_required { return "row \(index) of the sample has no \"\(column.name)\"" }
                    continue
                }
                if !isA(value, column.type) {
                    return "\"\(column.name)\" in row \(index) of the sample is \(value.kindName), not \(column.type)"
                }
            }
        }
        return nil
    }

    /// The sample as a body of MLflow's scoring protocol; nil when it has no rows with names.
    static func scoring(_ sample: JSONValue) -> JSONValue? {
        guard let rows = rows(sample)?.prefix(rowLimit), !rows.isEmpty, rows.allSatisfy({ !$0.isEmpty }) else {
            return nil
        }
        return ["dataframe_records": .array(rows.map { .object($0) })]
    }

    private static func rows(_ sample: JSONValue) -> [Ordered<JSONValue>]? {
        records(
            sample["dataframe_split"] ?? sample["dataframe_records"] ?? sample["inputs"] ?? sample["instances"]
                ?? sample)
    }

    private static func records(_ sample: JSONValue) -> [Ordered<JSONValue>]? {
        if let names = sample["columns"]?.array?.map({ $0.string ?? $0.text }), let data = sample["data"]?.array {
            return data.map { row in Ordered(Array(zip(names, row.array ?? [row]))) }
        }
        if let rows = sample.array { return rows.map { $0.object ?? [:] } }
        guard let columns = sample.object else { return nil }
        guard let length = columns.values.first?.array?.count else { return [columns] }
        return (0..<length).map { index in
            Ordered(columns.map { ($0.key, $0.value[index] ?? .null) })
        }
    }

    private static func isA(_ value: JSONValue, _ type: String) -> Bool {
        switch type {
        case "boolean": value.bool != nil
        case "integer", "long": value.int != nil && value.string == nil
        case "float", "double": value.string == nil && (value.double != nil || value.bool != nil)
        case "string", "binary", "datetime": value.string != nil
        default: true
        }
    }
}
