import Glibc
import Segments

/// A folder of its own that goes with its last user.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/vagus-points-XXXXXX".utf8CString)
        guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil else {
            throw StorageError(.other, "no folder", hint: "")
        }
        path = template.withUnsafeBufferPointer {
            String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    deinit {
        for name in (try? Disk.names(in: path)) ?? [] { unlink("\(path)/\(name)") }  // What is left over is in /tmp.
        rmdir(path)
    }

    /// What another process would find if this one ended now.
    func copy() throws -> TemporaryFolder {
        let other = try TemporaryFolder()
        for name in try Disk.names(in: path) {
            let bytes = try OpenFile("\(path)/\(name)", O_RDONLY).read()
            try Disk.replace("\(other.path)/\(name)") { try Disk.writeAll(bytes, to: $0) }
        }
        return other
    }
}

struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
