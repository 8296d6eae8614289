import API
import Client
import Manifests

/// Finds the operation that a request means, and puts its input together.
struct OperationTable: Sendable {
    struct Match {
        var operation: AnyOperation
        var parameters: [(name: String, value: String)]
        /// Input fields that hold true or false.
        var switches: Set<String>
    }
    private struct Entry: Sendable {
        let operation: AnyOperation
        let segments: [String]
        let switches: Set<String>

        init(_ operation: AnyOperation) {
            self.operation = operation
            segments = operation.path.split(separator: "/").map(String.init)
            switches = Set(operation.input().properties.filter { $0.schema.type == "boolean" }.map(\.name))
        }
    }
    private let entries: [Entry]

    init(_ operations: [AnyOperation]) {
        entries = operations.map(Entry.init)
    }

    /// The operation at `path`; throws 404 for an unknown path, 405 for a known one with another method.
    func match(method: String, path: Substring) throws(Problem) -> Match {
        let segments = path.split(separator: "/")
        var others: [String] = []
        var best: Match?
        var bestLiterals = -1
        for entry in entries where entry.segments.count == segments.count {
            guard let parameters = Self.parameters(entry.segments, segments) else { continue }
            guard entry.operation.method.rawValue == method else {
                others.append(entry.operation.method.rawValue)
                continue
            }
            let literals = entry.segments.count - parameters.count
            if literals > bestLiterals {
                best = Match(operation: entry.operation, parameters: parameters, switches: entry.switches)
                bestLiterals = literals
            }
        }
        if let best { return best }
        guard others.isEmpty else {
            throw Problem(
                "method.not-allowed", status: 405, "\(method) is not answered here",
                hint: "Use \(others.sorted().joined(separator: " or ")).")
        }
        throw Problem(
            "path.not-found", status: 404, "nothing is at this path", hint: "See docs/openapi.json for all paths.")
    }

    private static func parameters(_ pattern: [String], _ segments: [Substring]) -> [(name: String, value: String)]? {
        var found: [(name: String, value: String)] = []
        for (wanted, given) in zip(pattern, segments) {
            if wanted.hasPrefix("{") {
                guard let value = Wire.decode(given) else { return nil }
                found.append((String(wanted.dropFirst().dropLast()), value))
            } else if wanted != given {
                return nil
            }
        }
        return found
    }

    /// Path, then query, then body: a field may come from one place only.
    static func input(_ match: Match, query: Substring, body: JSONValue?) throws(Problem) -> JSONValue {
        var members = Ordered<JSONValue>()
        if let body {
            guard let object = body.object else {
                throw Problem(
                    "body.not-an-object", status: 400, "the body must be a JSON object", hint: "See docs/openapi.json.")
            }
            members = object
        }
        func set(_ name: String, _ text: String) throws(Problem) {
            guard members[name] == nil else {
                throw Problem("field.twice", status: 400, "\"\(name)\" is given twice", hint: "Give it once.")
            }
            members[name] = Self.typed(text, isSwitch: match.switches.contains(name))
        }
        for (name, value) in match.parameters { try set(name, value) }
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Wire.decode(parts[0], plusIsSpace: true),
                let value = Wire.decode(parts.count > 1 ? parts[1] : "", plusIsSpace: true)
            else { throw Problem("query.broken", status: 400, "the query is not valid percent-encoding") }
            try set(name, value)
        }
        return .object(members)
    }

    /// Query text as the field's type: numbers read their own text, truth values are words.
    private static func typed(_ text: String, isSwitch: Bool) -> JSONValue {
        switch (isSwitch, text) {
        case (true, "true"): .bool(true)
        case (true, "false"): .bool(false)
        default: .string(text)
        }
    }
}
