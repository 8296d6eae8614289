import Series

extension Expression: CustomStringConvertible {
    /// The query in canonical spelling: parses to the same.
    package var description: String { PrettyPrinter.text(self) }
}

enum PrettyPrinter {
    static func text(_ expression: Expression) -> String {
        switch expression.kind {
        case .number(let value): return NumberText.plain(value)
        case .string(let bytes): return LabelName.quoted(bytes)
        case .selector(let selector): return text(selector, range: nil)
        case .range(let selector, let range): return text(selector, range: range)
        case .subquery(let inner, let subquery):
            return "\(text(inner))[\(subquery.range.text):\(subquery.step?.text ?? "")]"
                + suffix(subquery.at, subquery.offset)
        case .call(let function, let arguments):
            return "\(function.rawValue)(\(arguments.map(text).joined(separator: ", ")))"
        case .aggregate(let aggregation): return text(aggregation)
        case .binary(let operation): return text(operation)
        case .unary(let isNegative, let inner): return (isNegative ? "-" : "+") + text(inner)
        case .parenthesis(let inner): return "(\(text(inner)))"
        }
    }

    private static func text(_ aggregation: Aggregation) -> String {
        var head = aggregation.operation.rawValue
        if aggregation.isWithout || !aggregation.labels.isEmpty {
            head += (aggregation.isWithout ? " without " : " by ") + list(aggregation.labels) + " "
        }
        let parameter = aggregation.parameter.map { text($0) + ", " } ?? ""
        return "\(head)(\(parameter)\(text(aggregation.operand)))"
    }

    private static func text(_ operation: BinaryOperation) -> String {
        var middle = " \(operation.operation.rawValue) "
        if operation.returnsBool { middle += "bool " }
        if operation.hasMatching {
            middle += (operation.matching.isOn ? "on " : "ignoring ") + list(operation.matching.labels) + " "
            switch operation.matching.cardinality {
            case .manyToOne: middle += "group_left " + list(operation.matching.included) + " "
            case .oneToMany: middle += "group_right " + list(operation.matching.included) + " "
            default: break
            }
        }
        return text(operation.left) + middle + text(operation.right)
    }

    private static func text(_ selector: VectorSelector, range: DurationText?) -> String {
        var inner: [String] = []
        var head = selector.name ?? ""
        if !head.isEmpty, !isPlain(head, mayHoldColon: true) { head = "" }
        for matcher in selector.matchers {
            if matcher.name == Labels.metricNameLabel, matcher.comparison == .equal, matcher.value == selector.name,
                !head.isEmpty
            {
                continue
            }
            if matcher.name == Labels.metricNameLabel, matcher.comparison == .equal, head.isEmpty {
                inner.insert(quoted(matcher.value), at: 0)
                continue
            }
            inner.append("\(name(matcher.name))\(matcher.comparison.rawValue)\(quoted(matcher.value))")
        }
        let braces = inner.isEmpty && !head.isEmpty ? "" : "{\(inner.joined(separator: ","))}"
        return head + braces + (range.map { "[\($0.text)]" } ?? "") + suffix(selector.at, selector.offset)
    }

    private static func suffix(_ at: AtModifier?, _ offset: DurationText?) -> String {
        var text = ""
        switch at {
        case .start: text += " @ start()"
        case .end: text += " @ end()"
        case .time(let time):
            let (size, sign) = (time.magnitude, time < 0 ? "-" : "")
            let thousandths = String(size % 1_000 + 1_000).dropFirst()
            text += " @ \(sign)\(size / 1_000).\(thousandths)"
        case nil: break
        }
        if let offset { text += " offset \(offset.text)" }
        return text
    }

    private static func list(_ labels: [String]) -> String { "(\(labels.map(name).joined(separator: ", ")))" }

    /// A label's name, in quotes where it must be.
    private static func name(_ label: String) -> String { isPlain(label, mayHoldColon: false) ? label : quoted(label) }

    static func isPlain(_ name: String, mayHoldColon: Bool) -> Bool {
        guard let first = name.utf8.first, !(0x30...0x39).contains(first) else { return false }
        return name.utf8.allSatisfy { byte in
            (byte | 0x20) &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "_")
                || (mayHoldColon && byte == UInt8(ascii: ":"))
        }
    }

    /// With double quotes, and escapes for what would not stand in them.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case let control where control.value < 0x20 || control.value == 0x7f:
                let digits = String(control.value, radix: 16)
                result += "\\x" + (digits.count < 2 ? "0" : "") + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
