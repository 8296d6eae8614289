import API

/// Patterns of paths and branches: `*` is any text within a segment, `**` any number of segments, `?` one character.
struct Glob: Sendable {
    private let segments: [[UInt8]]

    init(_ pattern: String) {
        segments = pattern.split(separator: "/", omittingEmptySubsequences: true).map { Array($0.utf8) }
    }

    func matches(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true).map { Array($0.utf8) }
        return Self.match(segments[...], parts[...])
    }

    private static func match(_ pattern: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
        guard let first = pattern.first else { return path.isEmpty }
        if first == [UInt8(ascii: "*"), UInt8(ascii: "*")] {
            let rest = pattern.dropFirst()
            if rest.isEmpty { return true }
            return (path.startIndex...path.endIndex).contains { match(rest, path[$0...]) }
        }
        guard let part = path.first, matchSegment(first, part) else { return false }
        return match(pattern.dropFirst(), path.dropFirst())
    }

    /// Linear in practice: on a mismatch only the last star is tried longer.
    static func matchSegment(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var (p, t) = (0, 0)
        var star: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p, t)
                p += 1
            } else if p < pattern.count, pattern[p] == UInt8(ascii: "?") || pattern[p] == text[t] {
                (p, t) = (p + 1, t + 1)
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                (p, t) = (last.pattern + 1, last.text + 1)
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}

extension PushTrigger {
    /// Whether a push to a branch that changed these files sets the pipeline off.
    func heeds(branch: String, changed: [String]) -> Bool {
        guard branches.contains(where: { Glob($0).matches(branch) }) else { return false }
        guard !paths.isEmpty else { return true }
        let globs = paths.map(Glob.init)
        return changed.contains { file in globs.contains { $0.matches(file) } }
    }
}
