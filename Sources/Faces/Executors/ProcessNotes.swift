import Foundation
import Processes

/// Who runs, written down before it runs on, so that the next life of the runner can end it.
struct ProcessNotes: Sendable {
    private let folder: String

    init(folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
    }

    /// Gives the file that ``forget(_:)`` removes.
    func remember(_ identity: ProcessIdentity) throws -> String {
        let path = "\(folder)/\(identity.pid)-\(identity.startTime).json"
        // Not atomic: it is one small write, and it says who runs to a next life only if this one ends.
        try JSONEncoder().encode(identity).write(to: URL(fileURLWithPath: path))
        return path
    }

    func forget(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)  // a leftover names a process that is no more
    }

    /// Ends what an earlier life has left running.
    func endAll() async {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []  // none: nothing to end
        for name in names {
            let path = "\(folder)/\(name)"
            let data = FileManager.default.contents(atPath: path) ?? Data()
            let identity = try? JSONDecoder().decode(ProcessIdentity.self, from: data)  // torn: it never ran on
            if let identity { await Processes.terminate(identity, grace: .zero) }
            forget(path)
        }
    }
}
