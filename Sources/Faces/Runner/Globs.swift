import API
import Blobs
import Foundation
import Globs

/// Finds the files of a folder that patterns name.
///
/// `*` is any text within a segment, `**` any number of segments, `?` one character. A pattern that names a folder takes
/// all files in it. Links are not followed, `.git` is not looked into.
enum GlobWalk {
    ///
    /// - Parameters:
    ///   - excluded: Patterns of what is left out.
    ///   - withLinks: Takes links too, as links, that stay inside the root.
    /// - Returns: Paths beneath the root, sorted.
    static func files(
        matching patterns: [String], excluding excluded: [String] = [], in root: String, withLinks: Bool = false
    ) throws -> [String] {
        func parsed(_ patterns: [String]) -> [Glob] {
            patterns.map { Glob($0.split(separator: "/").filter { $0 != "." }.joined(separator: "/"), .file) }
        }
        let (globs, others) = (parsed(patterns), parsed(excluded))
        if let outside = (patterns + excluded).first(where: { !isInsideWorkspace($0) }) {
            throw Problem(
                "artifact.outside", status: 422, "\"\(outside)\" leads out of the workspace",
                hint: "Write paths beneath the workspace.")
        }
        var found: [String] = []
        func take(_ path: String) throws {
            found.append(path)
            guard found.count <= RunnerLimits.artifactFiles else {
                throw Problem(
                    "artifact.files", status: 413, "more than \(RunnerLimits.artifactFiles) files",
                    hint: "Pack them into an archive in a step.")
            }
        }
        // Folders beneath the root; a folder that a pattern names is taken whole.
        var queue: [(path: String, isTaken: Bool)] = [("", false)]
        while let folder = queue.popLast() {
            for name in try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder.path)") {
                let path = folder.path.isEmpty ? name : "\(folder.path)/\(name)"
                if others.contains(where: { $0.matches(path) }) { continue }
                let isTaken = folder.isTaken || globs.contains { $0.matches(path) }
                switch kind("\(root)/\(path)") {
                case .typeDirectory where name != ".git":
                    if isTaken || globs.contains(where: { $0.mayMatch(beneath: path) }) {
                        queue.append((path, isTaken))
                    }
                case .typeRegular where isTaken: try take(path)
                case .typeSymbolicLink where isTaken && withLinks:
                    if Tree.innerTarget(ofLink: path, in: root) != nil { try take(path) }
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
}
