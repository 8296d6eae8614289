import API
import Foundation
import Manifests

/// Lays a tree's files out in a folder, from its manifest, without a blob store.
struct TreeFiles: Sendable {
    let client: VagusClient

    func lay(manifest: String, at folder: String) async throws {
        let json = try JSONParser.parse(Array(try Data(contentsOf: URL(filePath: manifest))))
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for entry in json["entries"]?.array ?? [] {
            guard let path = entry["path"]?.string, Self.isInside(path) else {
                throw Problem(
                    "tree.path", status: 422, "the tree names a path outside itself",
                    hint: "Do not trust this artifact.")
            }
            let place = "\(folder)/\(path)"
            switch (entry["kind"]?.string, entry["digest"]?.string ?? entry["digest"]?["hex"]?.string) {
            case ("folder", _), ("directory", _):
                try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            case ("file", let digest?):
                try FileManager.default.createDirectory(
                    atPath: (place as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try await client.download(digest.hasPrefix("sha256:") ? digest : "sha256:\(digest)", to: place)
            default: continue
            }
        }
        try FileManager.default.removeItem(atPath: manifest)
    }

    private static func isInside(_ path: String) -> Bool {
        !path.hasPrefix("/") && !path.split(separator: "/").contains("..")
    }
}
