import API
import Foundation
import Globs

/// Finds the files of a folder that patterns name.
///
/// `*` is any text within a segment, `**` any number of segments, `?` one character. A pattern that names a folder takes
/// all files in it. Links are not followed, `.git` is not looked into.
enum GlobWalk {
    static func files(matching patterns: [String], in root: String) throws -> [String] {
        let globs = patterns.map {
            Glob($0.split(separator: "/").filter { $0 != "." }.joined(separator: "/"), .file)
        }
        if let outside = patterns.first(where: { $0.hasPrefix("/") || $0.split(separator: "/").contains("..") }) {
            throw Problem(
                "artifact.outside", status: 422, "\"\(outside)\" leads out of the workspace",
                hint: "Write paths beneath the workspace.")
        }
        var found: [String] = []
        // Folders beneath the root; a folder that a pattern names is taken whole.
        var queue: [(path: String, isTaken: Bool)] = [("", false)]
        while let folder = queue.popLast() {
            for name in try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder.path)") {
                let path = folder.path.isEmpty ? name : "\(folder.path)/\(name)"
                let isTaken = folder.isTaken || globs.contains { $0.matches(path) }
                switch kind("\(root)/\(path)") {
                case .typeDirectory where name != ".git":
                    if isTaken || globs.contains(where: { $0.mayMatch(beneath: path) }) {
                        queue.append((path, isTaken))
                    }
                case .typeRegular where isTaken:
                    found.append(path)
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
}
