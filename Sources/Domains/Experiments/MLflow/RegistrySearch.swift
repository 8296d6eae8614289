import Foundation
import Kernel
import Manifests
import SQL

/// Order and pages of a search of the registry; pure.
///
/// A page begins behind the place of the last row of the one before, so that rows that come and go meanwhile neither repeat nor
/// hide others.
enum RegistrySearch {
    struct Order: Sendable, Equatable {
        var key: String
        var isAscending: Bool
    }
    static func compare(_ left: SQLValue, _ right: SQLValue) -> Int {
        switch (left, right) {
        case let (.integer(one), .integer(other)): one == other ? 0 : one < other ? -1 : 1
        case let (.text(one), .text(other)):
            one == other ? 0 : one.utf8.lexicographicallyPrecedes(other.utf8) ? -1 : 1
        case (.integer, _): -1
        default: 1
        }
    }

    static func limit(_ input: MLflowInput, standard: Int, most: Int) throws(MLflowError) -> Int {
        guard let number = try input.integer("max_results") else { return standard }
        guard number >= 1 else {
            throw .invalid("Invalid value for max_results. It must be a positive integer, but got \(number)")
        }
        guard number <= Int64(most) else {
            throw .invalid(
                "Invalid value for request parameter max_results. It must be at most \(most), but got value \(number)")
        }
        return Int(number)
    }

    /// `name DESC`, in this order; unknown keys and doubles are refused.
    static func order(_ clauses: [String], keys: [String], standard: [Order]) throws(MLflowError) -> [Order] {
        var order: [Order] = []
        for clause in clauses {
            var words = clause.split(whereSeparator: \.isWhitespace).map(String.init)
            var isAscending = true
            if let last = words.last?.uppercased(), last == "ASC" || last == "DESC" {
                isAscending = last == "ASC"
                words.removeLast()
            }
            guard words.count == 1, var key = words.first?.trimmingCharacters(in: CharacterSet(charactersIn: "`\""))
            else {
                throw .invalid("Invalid order_by clause '\(clause.prefix(60))'. Could not be parsed.")
            }
            for prefix in ["attribute.", "attributes.", "attr."] where key.hasPrefix(prefix) {
                key = String(key.dropFirst(prefix.count))
            }
            guard keys.contains(key) else {
                throw .invalid(
                    "Invalid order by key '\(key.prefix(60))' specified. Valid keys are '\(keys.joined(separator: "', '"))'"
                )
            }
            guard !order.contains(where: { $0.key == key }) else {
                throw .invalid("`order_by` contains duplicate fields: \(clauses.joined(separator: ", ").prefix(200))")
            }
            order.append(Order(key: key, isAscending: isAscending))
        }
        return order.isEmpty ? standard : order
    }

    /// Pages of one question.
    struct Page: Sendable {
        private let order: [Order]
        private let tokens: PageTokens
        /// A token belongs to one question.
        private let question: [String]

        init(_ input: MLflowInput, order: [Order], tokens: PageTokens) {
            (self.order, self.tokens) = (order, tokens)
            question = [
                input.request.path, input.project, input.json["filter"]?.text ?? "", input.json["order_by"]?.text ?? "",
            ]
        }

        /// Sorts, and cuts out what comes behind a token.
        ///
        /// - Parameter place: Where a row stands: a value for each key of the order, then what tells all apart.
        func cut<Row>(
            _ rows: [Row], place: (Row) -> [SQLValue], from token: String, limit: Int
        ) throws(MLflowError) -> (items: [Row], next: String?) {
            let start = token.isEmpty ? nil : try tokens.read(token, for: question)
            var placed = rows.map { ($0, place($0)) }
            if let start { placed.removeAll { !isBefore(start, $0.1) } }
            placed.sort { isBefore($0.1, $1.1) }
            let items = placed.prefix(limit)
            let next = placed.count > limit ? items.last.map { tokens.make($0.1, for: question) } : nil
            return (items.map(\.0), next)
        }

        private func isBefore(_ left: [SQLValue], _ right: [SQLValue]) -> Bool {
            for index in 0..<min(left.count, right.count) {
                let compared = RegistrySearch.compare(left[index], right[index])
                guard compared != 0 else { continue }
                let isAscending = index < order.count ? order[index].isAscending : true
                return (compared < 0) == isAscending
            }
            return false
        }
    }
}
