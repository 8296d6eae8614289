/// From the text of a pattern to its nodes.
struct Parser {
    private let text: [Unicode.Scalar]
    private let dialect: Glob.Dialect

    init(_ pattern: String, _ dialect: Glob.Dialect) {
        (text, self.dialect) = (Array(pattern.unicodeScalars), dialect)
    }

    func nodes() -> [Glob.Node] {
        var nodes: [Glob.Node] = []
        var index = 0
        while index < text.count {
            let scalar = text[index]
            index += 1
            switch scalar {
            case "*": star(&nodes, &index)
            case "?" where dialect == .file: nodes.append(.one(.notSlash))
            case "?", "+":
                guard dialect == .filter, case .one(let last) = nodes.last else {
                    nodes.append(.one(.one(scalar)))
                    continue
                }
                if scalar == "?" { nodes[nodes.count - 1] = .optional(last) } else { nodes.append(.loop(last)) }
            case "[":
                if let found = set(from: index) {
                    nodes.append(.one(found.set))
                    index = found.end
                } else {
                    nodes.append(.one(.one(scalar)))
                }
            case "\\" where index < text.count:
                nodes.append(.one(.one(text[index])))
                index += 1
            default: nodes.append(.one(.one(scalar)))
            }
        }
        return nodes
    }

    private func star(_ nodes: inout [Glob.Node], _ index: inout Int) {
        guard index < text.count, text[index] == "*" else { return nodes.append(.loop(.notSlash)) }
        let begins = index == 1 || text[index - 2] == "/"
        while index < text.count, text[index] == "*" { index += 1 }
        let isSegment = begins && (index == text.count || text[index] == "/")
        if isSegment, index < text.count {
            index += 1
            nodes += [.folders, .loop(.any), .one(.one("/"))]
        } else {
            // A shell knows "**" only as a whole segment.
            nodes.append(.loop(dialect == .filter || isSegment ? .any : .notSlash))
        }
    }

    /// The set that begins behind "["; nil when nothing closes it, or nothing is in it.
    private func set(from start: Int) -> (set: Glob.Class, end: Int)? {
        var index = start
        var isNegated = false
        if index < text.count, text[index] == "^" || (dialect == .file && text[index] == "!") {
            isNegated = true
            index += 1
        }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        while index < text.count, text[index] != "]" {
            let low = text[index]
            if index + 2 < text.count, text[index + 1] == "-", text[index + 2] != "]" {
                let high = text[index + 2]
                if low <= high { ranges.append(low...high) }
                index += 3
            } else {
                ranges.append(low...low)
                index += 1
            }
        }
        guard index < text.count, !ranges.isEmpty else { return nil }
        return (.among(ranges, isNegated: isNegated), index + 1)
    }
}
