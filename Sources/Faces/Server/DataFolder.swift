package import API
import Foundation

/// The one folder that holds everything; only one server may have it open.
package struct DataFolder: Sendable {
    package let path: String
    private let lock: Int32

    /// Makes the folder when it is missing, and takes its lock.
    package init(_ path: String) throws(Problem) {
        let url = URL(filePath: path, directoryHint: .isDirectory).standardizedFileURL
        self.path = url.path.hasSuffix("/") ? String(url.path.dropLast()) : url.path
        do {
            for name in [
                "", "repositories", "logs", "instances", "predictions", "requests", "runner", "datasets", "proxy",
            ] {
                try FileManager.default.createDirectory(
                    at: url.appending(path: name), withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700])
            }
        } catch {
            throw Problem(
                "data.folder", status: 500, "could not make the data folder \"\(path)\"",
                detail: (error as NSError).localizedDescription,
                hint: "Name a folder that you may write to with --data.")
        }
        lock = open(self.path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            throw Problem(
                "data.in-use", status: 500, "another server uses the data folder \"\(path)\"",
                hint: "Stop it first, or name another folder with --data.")
        }
    }

    package func file(_ name: String) -> String { "\(path)/\(name)" }
}
