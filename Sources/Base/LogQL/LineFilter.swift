internal import Segments
internal import Series

/// Keeps or drops lines by what stands in them.
struct LineFilter: Sendable {
    enum Test: Sendable {
        case contains([UInt8])
        /// With texts that every match holds, and those with the case of letters left aside.
        case matches(LabelPattern, texts: [String], folded: [String])
        case looksLike(PatternTemplate)
    }

    /// Any of them (`|= "a" or "b"`).
    let tests: [Test]
    let isNegated: Bool

    func keeps(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
        let holds = tests.contains { test in
            switch test {
            case .contains(let needle): TextSearch.find(needle, in: UnsafeRawBufferPointer(line)) != nil
            case .matches(let pattern, _, _): pattern.matches(line)
            case .looksLike(let template): template.matches(line)
            }
        }
        return holds != isNegated
    }

    /// Texts that every line which is kept holds.
    var needles: [[UInt8]] {
        guard !isNegated, tests.count == 1 else { return [] }
        switch tests[0] {
        case .contains(let needle): return needle.isEmpty ? [] : [needle]
        case .matches(_, let texts, _): return texts.map { Array($0.utf8) }
        case .looksLike(let template): return template.literals
        }
    }

    /// The same with the case of letters left aside.
    var hints: [[UInt8]] {
        guard !isNegated, tests.count == 1, case .matches(_, _, let folded) = tests[0] else { return [] }
        return folded.map { Array($0.utf8) }
    }
}

/// A line's shape: `<ip> - <_> "<method> <path>"`. Text between the names must be there; a name takes what lies between.
struct PatternTemplate: Sendable {
    private enum Part: Sendable {
        case literal([UInt8])
        /// nil for `<_>`.
        case capture(String?)
    }

    private let parts: [Part]

    /// - Throws: `LogQLError` without a place.
    init(_ text: String, needsName: Bool) throws {
        var parts: [Part] = []
        var literal: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.first {
            if byte == UInt8(ascii: "<"), let end = rest.firstIndex(of: UInt8(ascii: ">")),
                let name = Self.name(rest[(rest.startIndex + 1)..<end])
            {
                if !literal.isEmpty { parts.append(.literal(literal)) }
                literal = []
                if case .capture? = parts.last { throw LogQLError("two captures of a pattern follow each other") }
                parts.append(.capture(name == "_" ? nil : name))
                rest = rest[(end + 1)...]
            } else {
                literal.append(byte)
                rest = rest.dropFirst()
            }
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        let names = parts.compactMap { if case .capture(let name?) = $0 { name } else { nil } }
        if needsName && names.isEmpty { throw LogQLError("a pattern needs a capture with a name") }
        if Set(names).count < names.count { throw LogQLError("a pattern has two captures of one name") }
        if parts.isEmpty { throw LogQLError("a pattern is empty") }
        self.parts = parts
    }

    private static func name(_ bytes: ArraySlice<UInt8>) -> String? {
        guard let first = bytes.first, !(0x30...0x39).contains(first) else { return nil }
        let isName = bytes.allSatisfy { $0 == 0x5F || (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) }
        return isName ? String(decoding: bytes, as: UTF8.self) : nil
    }

    var literals: [[UInt8]] { parts.compactMap { if case .literal(let bytes) = $0 { bytes } else { nil } } }

    /// What the names take, as a parser wants it: nothing unless the line begins as the template does; where a text is missing, the
    /// name before it takes the rest; what comes behind the last text does not matter.
    func captures(_ line: UnsafeBufferPointer<UInt8>) -> [(name: String, value: Range<Int>)] {
        var (found, position): ([(String, Range<Int>)], Int) = ([], 0)
        var open: String??
        for part in parts {
            guard case .literal(let bytes) = part else {
                if case .capture(let name) = part { open = .some(name) }
                continue
            }
            let next = TextSearch.find(bytes, in: UnsafeRawBufferPointer(line), from: position)
            if open == nil, next != position { return [] }
            if case .some(.some(let name)) = open { found.append((name, position..<(next ?? line.count))) }
            open = nil
            guard let next else { return found }
            position = next + bytes.count
        }
        if case .some(.some(let name)) = open { found.append((name, position..<line.count)) }
        return found
    }

    /// Whether the whole line has this shape, as a filter wants it.
    func matches(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
        var (position, isOpen) = (0, false)
        for (index, part) in parts.enumerated() {
            guard case .literal(let bytes) = part else {
                isOpen = true
                continue
            }
            guard line.count - bytes.count >= position else { return false }
            if !isOpen {
                guard line[position..<(position + bytes.count)].elementsEqual(bytes) else { return false }
                position += bytes.count
            } else if index == parts.count - 1 {
                // The last text stands at the end, wherever else it occurs.
                return line.suffix(bytes.count).elementsEqual(bytes)
            } else if let next = TextSearch.find(bytes, in: UnsafeRawBufferPointer(line), from: position) {
                position = next + bytes.count
            } else {
                return false
            }
            isOpen = false
        }
        return isOpen || position == line.count
    }
}
