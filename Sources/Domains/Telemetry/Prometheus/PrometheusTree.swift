import Manifests
import PromQL
import Series

/// A query as the tree that `parse_query` of Prometheus answers, for those who explain queries.
enum PrometheusTree {
    static func of(_ expression: Expression) -> JSONValue {
        switch expression.kind {
        case .number: ["type": "numberLiteral", "val": .string(expression.description)]
        case .string(let bytes): ["type": "stringLiteral", "val": .string(String(decoding: bytes, as: UTF8.self))]
        case .selector(let selector): object([("type", "vectorSelector")] + fields(selector))
        case .range(let selector, let range):
            object([("type", "matrixSelector")] + fields(selector) + [("range", number(range.milliseconds))])
        case .subquery(let inner, let subquery): object([("expr", of(inner))] + fields(subquery))
        case .call(let function, let arguments):
            ["type": "call", "func": signature(function), "args": .array(arguments.map(of))]
        case .aggregate(let aggregation): of(aggregation)
        case .binary(let operation): of(operation)
        case .unary(let isNegative, let inner):
            ["type": "unaryExpr", "op": isNegative ? "-" : "+", "expr": of(inner)]
        case .parenthesis(let inner): ["type": "parenExpr", "expr": of(inner)]
        }
    }

    private static func of(_ aggregation: Aggregation) -> JSONValue {
        [
            "type": "aggregation", "op": .string(aggregation.operation.rawValue), "expr": of(aggregation.operand),
            "param": aggregation.parameter.map(of) ?? .null, "grouping": strings(aggregation.labels),
            "without": .bool(aggregation.isWithout),
        ]
    }

    private static func of(_ operation: BinaryOperation) -> JSONValue {
        let isOfVectors = operation.left.type == .vector && operation.right.type == .vector
        return [
            "type": "binaryExpr", "op": .string(operation.operation.rawValue), "lhs": of(operation.left),
            "rhs": of(operation.right), "matching": isOfVectors ? of(operation.matching) : .null,
            "bool": .bool(operation.returnsBool),
        ]
    }

    private static func of(_ matching: BinaryOperation.Matching) -> JSONValue {
        let cardinality: JSONValue =
            switch matching.cardinality {
            case .oneToOne: "one-to-one"
            case .manyToOne: "many-to-one"
            case .oneToMany: "one-to-many"
            case .manyToMany: "many-to-many"
            }
        return [
            "card": cardinality, "labels": strings(matching.labels), "on": .bool(matching.isOn),
            "include": strings(matching.included),
        ]
    }

    private static func signature(_ function: Function) -> JSONValue {
        let signature = function.signature
        return [
            "name": .string(function.rawValue), "argTypes": .array(signature.arguments.map(word)),
            "variadic": number(Int64(signature.variadic)), "returnType": word(signature.result),
        ]
    }

    private static func word(_ type: ValueType) -> JSONValue {
        switch type {
        case .scalar: "scalar"
        case .string: "string"
        case .vector: "vector"
        case .matrix: "matrix"
        }
    }

    private static func fields(_ selector: VectorSelector) -> [(String, JSONValue)] {
        let matchers = selector.matchers.map { matcher -> JSONValue in
            [
                "name": .string(matcher.name), "value": .string(matcher.value),
                "type": .string(matcher.comparison.rawValue),
            ]
        }
        return [("name", .string(selector.name ?? "")), ("matchers", .array(matchers))]
            + when(selector.offset, selector.at)
    }

    private static func fields(_ subquery: Subquery) -> [(String, JSONValue)] {
        [
            ("type", "subquery"), ("range", number(subquery.range.milliseconds)),
            ("step", number(subquery.step?.milliseconds ?? 0)),
        ] + when(subquery.offset, subquery.at)
    }

    private static func when(_ offset: DurationText?, _ at: AtModifier?) -> [(String, JSONValue)] {
        var (time, edge): (JSONValue, JSONValue) = (.null, .null)
        switch at {
        case nil: break
        case .time(let milliseconds): time = number(milliseconds)
        case .start: edge = "start"
        case .end: edge = "end"
        }
        return [("offset", number(offset?.milliseconds ?? 0)), ("timestamp", time), ("startOrEnd", edge)]
    }

    private static func strings(_ list: [String]) -> JSONValue { .array(list.map(JSONValue.string)) }
    private static func number(_ value: Int64) -> JSONValue { .integer(value) }
    private static func object(_ fields: [(String, JSONValue)]) -> JSONValue { .object(Ordered(fields)) }
}
