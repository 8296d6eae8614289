/// A set of Unicode scalars as ascending, disjoint ranges: what one position of a pattern may be.
struct ScalarSet: Hashable, Sendable {
    private(set) var ranges: [ClosedRange<UInt32>] = []

    static let highest: UInt32 = 0x10_ffff
    static let all = ScalarSet([0...highest])
    static let digits = ScalarSet([0x30...0x39])
    static let word = ScalarSet([0x30...0x39, 0x41...0x5a, 0x5f...0x5f, 0x61...0x7a])
    /// Go's and RE2's `\s`: no vertical tab.
    static let space = ScalarSet([0x09...0x0a, 0x0c...0x0d, 0x20...0x20])
    static let newline = ScalarSet([0x0a...0x0a])

    init() {}

    init(_ ranges: [ClosedRange<UInt32>]) {
        self.ranges = ranges
        normalize()
    }

    init(_ scalar: Unicode.Scalar) { ranges = [scalar.value...scalar.value] }

    var isEmpty: Bool { ranges.isEmpty }

    /// The only member, when there is one alone.
    var single: Unicode.Scalar? {
        guard ranges.count == 1, ranges[0].lowerBound == ranges[0].upperBound else { return nil }
        return Unicode.Scalar(ranges[0].lowerBound)
    }

    mutating func insert(_ range: ClosedRange<UInt32>) {
        ranges.append(range)
        normalize()
    }

    mutating func formUnion(_ other: ScalarSet) {
        ranges += other.ranges
        normalize()
    }

    var inverted: ScalarSet {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { result.append(next...(range.lowerBound - 1)) }
            next = range.upperBound + 1
        }
        if next <= Self.highest { result.append(next...Self.highest) }
        return ScalarSet(result)
    }

    func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

    /// With the other case of each letter. Ranges longer than `foldLimit` beyond ASCII stay as they are.
    var caseFolded: ScalarSet {
        var result = self
        var added: [ClosedRange<UInt32>] = []
        for range in ranges where range.upperBound - range.lowerBound <= Self.foldLimit || range.lowerBound < 0x80 {
            let end =
                range.upperBound - range.lowerBound <= Self.foldLimit ? range.upperBound : min(range.upperBound, 0x7f)
            for value in range.lowerBound...end {
                guard let scalar = Unicode.Scalar(value) else { continue }
                for other in Self.otherCases(of: scalar) { added.append(other.value...other.value) }
            }
        }
        result.ranges += added
        result.normalize()
        return result
    }

    private static let foldLimit: UInt32 = 3_000

    private static func otherCases(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        for text in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
            if text.unicodeScalars.count == 1, let other = text.unicodeScalars.first, other != scalar {
                result.append(other)
            }
        }
        return result
    }

    private mutating func normalize() {
        guard ranges.count > 1 else { return }
        ranges.sort { $0.lowerBound < $1.lowerBound }
        var merged: [ClosedRange<UInt32>] = [ranges[0]]
        for range in ranges.dropFirst() {
            let last = merged[merged.count - 1]
            if range.lowerBound <= last.upperBound || range.lowerBound == last.upperBound + 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        ranges = merged
    }
}

extension ScalarSet {
    /// `[[:alpha:]]` and the like: ASCII only, as RE2 has them.
    static func posix(_ name: String) -> ScalarSet? {
        switch name {
        case "alnum": ScalarSet([0x30...0x39, 0x41...0x5a, 0x61...0x7a])
        case "alpha": ScalarSet([0x41...0x5a, 0x61...0x7a])
        case "ascii": ScalarSet([0...0x7f])
        case "blank": ScalarSet([0x09...0x09, 0x20...0x20])
        case "cntrl": ScalarSet([0...0x1f, 0x7f...0x7f])
        case "digit": digits
        case "graph": ScalarSet([0x21...0x7e])
        case "lower": ScalarSet([0x61...0x7a])
        case "print": ScalarSet([0x20...0x7e])
        case "punct": ScalarSet([0x21...0x2f, 0x3a...0x40, 0x5b...0x60, 0x7b...0x7e])
        case "space": ScalarSet([0x09...0x0d, 0x20...0x20])
        case "upper": ScalarSet([0x41...0x5a])
        case "word": word
        case "xdigit": ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])
        default: nil
        }
    }

    /// `\p{L}`, `\p{Lu}`, `\p{Greek}`: general categories, and the scripts that label values are written in.
    static func unicode(_ name: String) -> ScalarSet? {
        if name == "Any" { return .all }
        if let script = scripts[name] { return ScalarSet(script) }
        guard let wanted = categories[name] else { return nil }
        var ranges: [ClosedRange<UInt32>] = []
        var start: UInt32?
        for value in 0...highest {
            let isMember = Unicode.Scalar(value).map { wanted.contains($0.properties.generalCategory) } ?? false
            if isMember {
                if start == nil { start = value }
            } else if let first = start {
                ranges.append(first...(value - 1))
                start = nil
            }
        }
        if let first = start { ranges.append(first...highest) }
        return ScalarSet(ranges)
    }

    private static let scripts: [String: [ClosedRange<UInt32>]] = [
        "Latin": [
            0x41...0x5a, 0x61...0x7a, 0xaa...0xaa, 0xba...0xba, 0xc0...0xd6, 0xd8...0xf6, 0xf8...0x2b8, 0x1e00...0x1eff,
            0x2c60...0x2c7f, 0xa722...0xa787, 0xff21...0xff3a, 0xff41...0xff5a,
        ],
        "Greek": [
            0x370...0x373, 0x375...0x377, 0x37a...0x37d, 0x37f...0x37f, 0x384...0x3e1, 0x3f0...0x3ff, 0x1f00...0x1ffe,
        ],
        "Cyrillic": [0x400...0x484, 0x487...0x52f, 0x1c80...0x1c88, 0x2de0...0x2dff, 0xa640...0xa69f],
        "Hebrew": [0x591...0x5c7, 0x5d0...0x5ea, 0x5ef...0x5f4],
        "Arabic": [
            0x600...0x604, 0x606...0x60b, 0x60d...0x61a, 0x61c...0x61e, 0x620...0x63f, 0x641...0x6ff, 0x750...0x77f,
        ],
        "Devanagari": [0x900...0x950, 0x955...0x963, 0x966...0x97f],
        "Thai": [0xe01...0xe3a, 0xe40...0xe5b],
        "Hiragana": [0x3041...0x3096, 0x309d...0x309f],
        "Katakana": [0x30a1...0x30fa, 0x30fd...0x30ff, 0x31f0...0x31ff, 0xff66...0xff6f, 0xff71...0xff9d],
        "Hangul": [0x1100...0x11ff, 0x3131...0x318e, 0xac00...0xd7a3],
        "Han": [
            0x2e80...0x2fd5, 0x3005...0x3005, 0x3007...0x3007, 0x3400...0x4dbf, 0x4e00...0x9fff, 0xf900...0xfad9,
            0x20000...0x2fa1d,
        ],
    ]

    private static let categories: [String: Set<Unicode.GeneralCategory>] = [
        "L": [.uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter],
        "Lu": [.uppercaseLetter], "Ll": [.lowercaseLetter], "Lt": [.titlecaseLetter], "Lm": [.modifierLetter],
        "Lo": [.otherLetter],
        "M": [.nonspacingMark, .spacingMark, .enclosingMark],
        "Mn": [.nonspacingMark], "Mc": [.spacingMark], "Me": [.enclosingMark],
        "N": [.decimalNumber, .letterNumber, .otherNumber],
        "Nd": [.decimalNumber], "Nl": [.letterNumber], "No": [.otherNumber],
        "P": [
            .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation,
        ],
        "Pc": [.connectorPunctuation], "Pd": [.dashPunctuation], "Ps": [.openPunctuation], "Pe": [.closePunctuation],
        "Pi": [.initialPunctuation], "Pf": [.finalPunctuation], "Po": [.otherPunctuation],
        "S": [.mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol],
        "Sm": [.mathSymbol], "Sc": [.currencySymbol], "Sk": [.modifierSymbol], "So": [.otherSymbol],
        "Z": [.spaceSeparator, .lineSeparator, .paragraphSeparator],
        "Zs": [.spaceSeparator], "Zl": [.lineSeparator], "Zp": [.paragraphSeparator],
        "C": [.control, .format, .surrogate, .privateUse],
        "Cc": [.control], "Cf": [.format], "Cs": [.surrogate], "Co": [.privateUse],
    ]
}
