import Foundation
import Manifests

/// What a step saw, kept beside its workspace for `vagus shell`: its variables, secrets left out.
package enum StepMemory {
    static let file = "environment.json"

    /// `secrets` are values that must not be written down, also not as a part of another.
    static func keep(_ environment: [String: String], hiding secrets: [String], in place: String) throws {
        var members = Ordered<JSONValue>()
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) {
            if secrets.contains(where: { !$0.isEmpty && value.contains($0) }) { continue }
            members[name] = .string(value)
        }
        let path = "\(place)/\(file)"
        let bytes = Data(JSONValue.object(members).bytes)
        guard FileManager.default.createFile(atPath: path, contents: bytes, attributes: [.posixPermissions: 0o600])
        else { throw CocoaError(.fileWriteUnknown) }
    }

    /// The variables of a step, from the folder of its job; nil when they were not kept.
    package static func environment(ofStep index: Int, in jobFolder: String) -> [String: String]? {
        let path = "\(jobFolder)/step-\(index)/\(file)"
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        let members = try? JSONParser.parse(Array(data)).object  // torn: as if it had not been kept
        return members?.reduce(into: [:]) { $0[$1.key] = $1.value.string }
    }
}
