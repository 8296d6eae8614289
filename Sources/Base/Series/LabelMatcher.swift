/// One condition on a series' labels. A label that a series lacks counts as the empty text.
package struct LabelMatcher: Hashable, Sendable {
    package enum Comparison: String, Sendable, CaseIterable {
        case equal = "="
        case notEqual = "!="
        case matches = "=~"
        case doesNotMatch = "!~"
    }

    package let name: String
    package let comparison: Comparison
    /// The value, or the regular expression (RE2 syntax, anchored at both ends).
    package let value: String

    package init(_ name: String, _ comparison: Comparison, _ value: String) {
        self.name = name
        self.comparison = comparison
        self.value = value
    }
}
