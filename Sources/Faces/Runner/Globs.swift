import API
import Foundation

/// Finds the files of a folder that patterns name.
///
/// `*` is any text within a segment, `**` any number of segments, `?` one character. A pattern that names a folder takes
/// all files in it. Links are not followed, `.git` is not looked into.
enum GlobWalk {
    static func files(matching patterns: [String], in root: String) throws -> [String] {
        let globs = patterns.map { $0.split(separator: "/").filter { $0 != "." }.map { Array($0.utf8) } }
        if let outside = patterns.first(where: { $0.hasPrefix("/") || $0.split(separator: "/").contains("..") }) {
            throw Problem(
                "artifact.outside", status: 422, "\"\(outside)\" leads out of the workspace",
                hint: "Write paths beneath the workspace.")
        }
        var found: [String] = []
        var queue: [[String]] = [[]]
        while let folder = queue.popLast() {
            let path = ([root] + folder).joined(separator: "/")
            for name in try FileManager.default.contentsOfDirectory(atPath: path) {
                let parts = folder + [name]
                let bytes = parts.map { Array($0.utf8) }
                let isTaken = globs.contains { matches($0[...], bytes[...]) }
                switch kind("\(path)/\(name)") {
                case .typeDirectory where name != ".git":
                    if isTaken || globs.contains(where: { mayHold($0[...], bytes[...]) }) { queue.append(parts) }
                case .typeRegular where isTaken:
                    found.append(parts.joined(separator: "/"))
                    guard found.count <= RunnerLimits.artifactFiles else {
                        throw Problem(
                            "artifact.files", status: 413, "more than \(RunnerLimits.artifactFiles) files",
                            hint: "Pack them into an archive in a step.")
                    }
                default: break
                }
            }
        }
        return found.sorted()
    }

    private static func kind(_ path: String) -> FileAttributeType? {
        // Gone meanwhile: no file.
        (try? FileManager.default.attributesOfItem(atPath: path))?[.type] as? FileAttributeType  // gone: none
    }

    /// Whether the pattern names the path or a folder above it.
    static func matches(_ pattern: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
        guard let first = pattern.first else { return true }
        if first == [0x2A, 0x2A] {
            let rest = pattern.dropFirst()
            if rest.isEmpty { return true }
            return (path.startIndex..<path.endIndex).contains { matches(rest, path[$0...]) }
        }
        guard let part = path.first, matchesSegment(first, part) else { return false }
        return matches(pattern.dropFirst(), path.dropFirst())
    }

    /// Whether something beneath the folder may match.
    private static func mayHold(_ pattern: ArraySlice<[UInt8]>, _ folder: ArraySlice<[UInt8]>) -> Bool {
        guard let part = folder.first else { return true }
        guard let first = pattern.first else { return true }
        if first == [0x2A, 0x2A] { return true }
        return matchesSegment(first, part) && mayHold(pattern.dropFirst(), folder.dropFirst())
    }

    static func matchesSegment(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var (p, t) = (0, 0)
        var star: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == 0x2A {
                star = (p, t)
                p += 1
            } else if p < pattern.count, pattern[p] == 0x3F || pattern[p] == text[t] {
                (p, t) = (p + 1, t + 1)
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                (p, t) = (last.pattern + 1, last.text + 1)
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == 0x2A }
    }
}
