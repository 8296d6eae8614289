package import Manifests

extension Value {
    /// Takes over a JSON value, the order of members included.
    package init(_ json: JSONValue) {
        self =
            switch json {
            case .null: .null
            case .bool(let flag): .bool(flag)
            case .integer(let number): .number(Double(number))
            case .number(let number): .number(number)
            case .string(let text): .string(text)
            case .array(let items): .array(items.map { Value($0) })
            case .object(let members): .object(members.map { Value($0) })
            }
    }

    /// The same value as JSON; whole numbers are integers.
    package var jsonValue: JSONValue {
        switch self {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .number(let number): Int64(exactly: number).map { .integer($0) } ?? .number(number)
        case .string(let text): .string(text)
        case .array(let items): .array(items.map(\.jsonValue))
        case .object(let members): .object(members.map(\.jsonValue))
        }
    }

    /// What `toJSON()` gives: two spaces a level, numbers as everywhere in text (NaN included, which JSON has not).
    ///
    /// - Throws: `.limit` beyond `ExpressionLimits.resultBytes`.
    func prettyJSON(at position: Position) throws(ExpressionError) -> String {
        var text = ""
        try writeJSON(to: &text, indent: "\n", position)
        return text
    }

    private func writeJSON(to text: inout String, indent: String, _ position: Position) throws(ExpressionError) {
        let inner = indent + "  "
        switch self {
        case .null: text += "null"
        case .string(let string): text += JSONValue.string(string).text
        case .bool, .number: text += self.text
        case .array(let items):
            for (index, item) in items.enumerated() {
                text += (index == 0 ? "[" : ",") + inner
                try item.writeJSON(to: &text, indent: inner, position)
            }
            text += items.isEmpty ? "[]" : indent + "]"
        case .object(let members):
            for (index, (name, value)) in members.enumerated() {
                text += (index == 0 ? "{" : ",") + inner + JSONValue.string(name).text + ": "
                try value.writeJSON(to: &text, indent: inner, position)
            }
            text += members.isEmpty ? "{}" : indent + "}"
        }
        guard text.utf8.count <= ExpressionLimits.resultBytes else { throw .tooLarge(at: position) }
    }
}
