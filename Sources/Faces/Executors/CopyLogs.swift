import Dispatch
import Foundation
import Glibc
import Kernel

/// What copies have written that run elsewhere, kept in a folder when they end: `<folder>/<id>/output.log`.
///
/// That an id has a log tells that it has lived.
struct CopyLogs: Sendable {
    let folder: String
    private static let name = "output.log"
    private static let queue = DispatchQueue(label: "vagus.executors.logs", attributes: .concurrent)

    init(folder: String) { self.folder = folder }

    func has(_ id: InstanceID) async throws -> Bool {
        let log = "\(place(id))/\(Self.name)"
        return try await blocking { FileManager.default.fileExists(atPath: log) }
    }

    func keep(_ log: [UInt8], of id: InstanceID) async throws {
        let place = place(id)
        try await blocking {
            try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            try Data(log).write(to: URL(filePath: "\(place)/\(Self.name)"), options: .atomic)
        }
    }

    /// All that are kept and hold anything: one that ends has an empty log until its last words are there.
    func outputs() async throws -> [CopyOutput] {
        let folder = folder
        return try await blocking {
            guard FileManager.default.fileExists(atPath: folder) else { return [] }
            return try FileManager.default.contentsOfDirectory(atPath: folder).compactMap { name in
                let id = InstanceID(name.split(separator: ".").joined(separator: "/"))
                let path = "\(folder)/\(name)/\(Self.name)"
                var info = stat()
                return stat(path, &info) == 0 && info.st_size > 0 ? CopyOutput(id: id, path: path, hasEnded: true) : nil
            }
        }
    }

    /// Takes away the logs of all but the newest `limit` that have ended.
    func forget(keeping limit: Int = ContainerPlatform.endedLimit) async {
        let folder = folder
        try? await blocking { Self.forget(folder, limit) }  // tried again when the next copy ends
    }

    private func place(_ id: InstanceID) -> String {
        "\(folder)/\(id.text.split(separator: "/").joined(separator: "."))"
    }

    private static func forget(_ folder: String, _ limit: Int) {
        let keys: Set<URLResourceKey> = [.contentModificationDateKey]
        let folders = try? FileManager.default.contentsOfDirectory(  // none there: nothing to forget
            at: URL(filePath: folder), includingPropertiesForKeys: Array(keys))
        func changed(_ url: URL) -> Double {
            let values = try? url.resourceValues(forKeys: keys)  // gone by now: the oldest
            return values?.contentModificationDate?.timeIntervalSince1970 ?? 0
        }
        let byAge = (folders ?? []).filter(\.hasDirectoryPath).map { ($0, changed($0)) }.sorted { $0.1 < $1.1 }
        for (old, _) in byAge.dropLast(limit) {
            try? FileManager.default.removeItem(at: old)  // tried again when the next copy ends
        }
    }

    private func blocking<T: Sendable>(_ body: @Sendable @escaping () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { listener in
            Self.queue.async { listener.resume(with: Result { try body() }) }
        }
    }
}
