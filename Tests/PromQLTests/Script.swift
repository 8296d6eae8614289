import Series

@testable import PromQL

/// Prometheus's test language, read.
struct Script {
    enum Command {
        case clear
        case load(step: Int64, withCustomBuckets: Bool, [SeriesDescription])
        case evaluate(Evaluation)
    }

    struct Expectation {
        var kind: String
        var text: String?
        var isPattern = false
    }

    struct Evaluation {
        var line: Int
        var expression: String
        var times: (from: Int64, to: Int64, step: Int64)
        var isRange: Bool
        var expectations: [Expectation] = []
        var scalar: Double?
        var string: String?
        var rangeVector: (from: Int64, to: Int64, step: Int64)?
        var series: [SeriesDescription] = []

        func expects(_ kind: String) -> Bool { expectations.contains { $0.kind == kind } }
    }

    struct ScriptError: Error, CustomStringConvertible {
        var description: String
    }

    private(set) var commands: [Command] = []

    private let lines: [String]
    private var index = 0

    init(_ text: String) throws {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let trimmed = line.drop { $0 == " " || $0 == "\t" }
            let end = trimmed.lastIndex { $0 != " " && $0 != "\t" && $0 != "\r" }
            let content = end.map { String(trimmed[...$0]) } ?? ""
            return content.hasPrefix("#") ? "" : content
        }
        while index < lines.count {
            let line = lines[index]
            index += 1
            if line.isEmpty { continue }
            if line == "clear" {
                commands.append(.clear)
            } else if line.hasPrefix("load") {
                try load(line)
            } else if line.hasPrefix("eval") {
                try evaluation(line)
            } else {
                throw ScriptError(description: "line \(index): no command: \(line)")
            }
        }
    }

    private mutating func block() -> [String] {
        var found: [String] = []
        while index < lines.count, !lines[index].isEmpty {
            found.append(lines[index])
            index += 1
        }
        return found
    }

    private func duration(_ text: Substring) throws -> Int64 {
        let isNegative = text.hasPrefix("-")
        let plain = isNegative ? text.dropFirst() : text
        if let seconds = Double(plain) { return Int64((seconds * 1_000).rounded()) * (isNegative ? -1 : 1) }
        guard let value = DurationText.parse(String(plain)) else {
            throw ScriptError(description: "line \(index): no duration: \(text)")
        }
        return isNegative ? -value : value
    }

    private mutating func load(_ line: String) throws {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        let step = try duration(words[1])
        let series = try block().map { try parseSeriesDescription($0) }
        commands.append(.load(step: step, withCustomBuckets: words[0] == "load_with_nhcb", series))
    }

    private mutating func evaluation(_ line: String) throws {
        var rest = Substring(line)
        func word() -> Substring {
            rest = rest.drop { $0 == " " || $0 == "\t" }
            let word = rest.prefix { $0 != " " && $0 != "\t" }
            rest = rest.dropFirst(word.count)
            return word
        }
        let command = word()
        var evaluation: Evaluation
        if word() == "instant" {
            _ = word()
            let time = try duration(word())
            evaluation = Evaluation(line: index, expression: "", times: (time, time, 60_000), isRange: false)
        } else {
            _ = word()
            let from = try duration(word())
            _ = word()
            let to = try duration(word())
            _ = word()
            let step = try duration(word())
            evaluation = Evaluation(line: index, expression: "", times: (from, to, step), isRange: true)
        }
        evaluation.expression = String(rest.drop { $0 == " " || $0 == "\t" })
        if command.hasPrefix("eval_") {
            evaluation.expectations.append(Expectation(kind: String(command.dropFirst(5))))
        }
        for line in block() { try read(line, into: &evaluation) }
        commands.append(.evaluate(evaluation))
    }

    private func read(_ line: String, into evaluation: inout Evaluation) throws {
        if line.hasPrefix("expected_fail_message") {
            let text = line.dropFirst("expected_fail_message".count).drop { $0 == " " }
            evaluation.expectations.append(Expectation(kind: "fail", text: String(text)))
        } else if line.hasPrefix("expected_fail_regexp") {
            let text = line.dropFirst("expected_fail_regexp".count).drop { $0 == " " }
            evaluation.expectations.append(Expectation(kind: "fail", text: String(text), isPattern: true))
        } else if line == "expect" || line.hasPrefix("expect ") {
            try expectation(line, into: &evaluation)
        } else if let number = NumberText.parse(line) {
            evaluation.scalar = number
        } else {
            evaluation.series.append(try parseSeriesDescription(line))
        }
    }

    private func expectation(_ line: String, into evaluation: inout Evaluation) throws {
        let words = line.split(separator: " ")
        let kind = String(words[1])
        if kind == "string" {
            let literal = line.dropFirst("expect string ".count)
            guard case .string(let bytes) = try parseExpression(String(literal)).kind else { return }
            evaluation.string = String(decoding: bytes, as: UTF8.self)
            return
        }
        if kind == "range" {
            evaluation.rangeVector = (try duration(words[4]), try duration(words[6]), try duration(words[8]))
            return
        }
        var expectation = Expectation(kind: kind)
        for mark in ["msg:", "regex:"] {
            guard let start = words.firstIndex(where: { $0.hasPrefix(mark) }), start == 2 else { continue }
            let text = line[words[start].startIndex...].dropFirst(mark.count).drop { $0 == " " }
            expectation.text = String(text)
            expectation.isPattern = mark == "regex:"
        }
        evaluation.expectations.append(expectation)
    }
}
