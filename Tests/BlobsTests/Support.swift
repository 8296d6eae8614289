import Blobs
import Foundation
import Glibc

/// A folder of one test's own, gone with it.
final class Folder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/blobs-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
        path = template.withUnsafeBufferPointer { text in text.baseAddress.map { String(cString: $0) } ?? "" }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }  // a temporary folder left over harms nobody

    func store() throws -> BlobStore { try BlobStore(folder: "\(path)/deep/store") }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String, mode: Int = 0o644) throws -> String {
        let file = "\(path)/\(name)"
        let parent = (file as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        guard FileManager.default.createFile(atPath: file, contents: Data(bytes), attributes: nil) else {
            throw CocoaError(.fileWriteUnknown)
        }
        chmod(file, mode_t(mode))
        return file
    }

    func names(in name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)").sorted()
    }
}

/// Bytes that look random and are the same each time: a random block over and over, each time with its number in front.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    let block: [UInt64] = (0..<512).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state
    }
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        let space = UnsafeMutableRawBufferPointer(buffer)
        while filled < count {
            var numbered = block
            numbered[0] = UInt64(filled)
            let piece = min(4096, count - filled)
            numbered.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: space[filled..<(filled + piece)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<piece]))
            }
            filled += piece
        }
    }
}

/// The code of the blob error that a body throws.
func code(_ body: () async throws -> Void) async -> BlobError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? BlobError)?.code
    }
}
