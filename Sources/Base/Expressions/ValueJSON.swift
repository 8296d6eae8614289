package import Manifests

extension Value {
    /// Takes over a JSON value; the order of members is not kept.
    package init(_ json: JSONValue) {
        self =
            switch json {
            case .null: .null
            case .bool(let flag): .bool(flag)
            case .integer(let number): .number(Double(number))
            case .number(let number): .number(number)
            case .string(let text): .string(text)
            case .array(let items): .array(items.map { Value($0) })
            case .object(let members):
                .object(Dictionary(members.map { ($0.key, Value($0.value)) }, uniquingKeysWith: { _, last in last }))
            }
    }

    /// The same value as JSON, members in the order of their names; whole numbers are integers.
    package var jsonValue: JSONValue {
        switch self {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .number(let number): Int64(exactly: number).map { .integer($0) } ?? .number(number)
        case .string(let text): .string(text)
        case .array(let items): .array(items.map(\.jsonValue))
        case .object(let members):
            .object(Ordered(members.sorted { $0.key < $1.key }.map { ($0.key, $0.value.jsonValue) }))
        }
    }
}
