// Patterns of branches, tags and paths.
//
// One engine, two dialects. `filter` is that of GitHub's filters ("Workflow syntax: filter pattern cheat sheet"), in which
// "?" and "+" count the character before them. `file` is that of a shell, in which "?" is any one character and "+" is
// itself. In both:
//
//   *        any text without "/"          **       any text; "**/" also none at all
//   [a-z]    one of these characters       [^a]     one that is none of these, and no "/"
//   \x       x itself                      !…       takes away again what patterns before it have named (GlobList)
//
// A pattern is matched against the whole text, in time linear in text times pattern: it is run as a set of states, so that
// no pattern of a stranger can keep us busy.

/// A pattern of branches, tags or paths.
package struct Glob: Sendable, Equatable {
    package enum Dialect: Sendable {
        case filter
        case file
    }

    /// Characters that one step takes.
    enum Class: Sendable, Equatable {
        case one(Unicode.Scalar)
        case any
        case notSlash
        case among([ClosedRange<Unicode.Scalar>], isNegated: Bool)

        func holds(_ scalar: Unicode.Scalar) -> Bool {
            switch self {
            case .one(let own): own == scalar
            case .any: true
            case .notSlash: scalar != "/"
            case .among(let ranges, let isNegated):
                scalar != "/" && ranges.contains { $0.contains(scalar) } != isNegated
            }
        }
    }

    enum Node: Sendable, Equatable {
        case one(Class)
        case optional(Class)
        case loop(Class)
        /// "**/": the two nodes after it, or neither.
        case folders
    }

    package let pattern: String
    let nodes: [Node]

    package init(_ pattern: String, _ dialect: Dialect = .filter) {
        self.pattern = pattern
        nodes = Parser(pattern, dialect).nodes()
    }

    /// Whether the pattern names the whole text.
    package func matches(_ text: String) -> Bool { run(text).contains(nodes.count) }

    /// Whether some text that begins with `folder` and "/" may match.
    package func mayMatch(beneath folder: String) -> Bool { !run(folder + "/").isEmpty }

    /// The states that are reached behind the text.
    private func run(_ text: String) -> Set<Int> {
        var states: Set<Int> = []
        enter(0, &states)
        for scalar in text.unicodeScalars {
            var next: Set<Int> = []
            for state in states where state < nodes.count {
                switch nodes[state] {
                case .one(let own) where own.holds(scalar): enter(state + 1, &next)
                case .optional(let own) where own.holds(scalar): enter(state + 1, &next)
                case .loop(let own) where own.holds(scalar): enter(state, &next)
                default: break
                }
            }
            states = next
            if states.isEmpty { break }
        }
        return states
    }

    private func enter(_ first: Int, _ states: inout Set<Int>) {
        var state = first
        while states.insert(state).inserted, state < nodes.count {
            switch nodes[state] {
            case .one: return
            case .optional, .loop: state += 1
            case .folders:
                states.remove(state)
                enter(state + 3, &states)
                state += 1
            }
        }
    }
}

/// Patterns in their order, of which those that begin with "!" take away again.
package struct GlobList: Sendable, Equatable {
    private let globs: [(isTaking: Bool, glob: Glob)]
    package let patterns: [String]

    package init(_ patterns: [String], _ dialect: Glob.Dialect = .filter) {
        self.patterns = patterns
        globs = patterns.map { pattern in
            pattern.hasPrefix("!")
                ? (false, Glob(String(pattern.dropFirst()), dialect)) : (true, Glob(pattern, dialect))
        }
    }

    /// The word of the last pattern that names the text; false when none does.
    package func names(_ text: String) -> Bool { globs.last { $0.glob.matches(text) }?.isTaking ?? false }

    /// Whether it can never name anything: it only takes away.
    package var isVain: Bool { !globs.isEmpty && !globs.contains { $0.isTaking } }

    package static func == (left: Self, right: Self) -> Bool { left.patterns == right.patterns }
}
