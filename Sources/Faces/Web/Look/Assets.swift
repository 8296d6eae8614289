import CAssets

/// The files that the browser is given, embedded in the binary, each under a name that holds its digest.
struct Assets: Sendable {
    struct File: Sendable {
        let bytes: [UInt8]
        let contentType: String
        let etag: String
    }

    /// By path: "/assets/0123456789abcdef-app.css".
    private let files: [String: File]
    /// The path of each file by its plain name.
    private let paths: [String: String]

    init(_ embedded: [(name: String, bytes: [UInt8])]) {
        var files: [String: File] = [:]
        var paths: [String: String] = [:]
        for (name, bytes) in embedded {
            let digest = Self.digest(bytes)
            let path = "/assets/\(digest)-\(name)"
            files[path] = File(bytes: bytes, contentType: Self.contentType(name), etag: "\"\(digest)\"")
            paths[name] = path
        }
        (self.files, self.paths) = (files, paths)
    }

    /// What is in the binary.
    static let embedded = Assets(
        Embedded.all.filter { !$0.name.hasSuffix(".mustache") }.map { ($0.name, Array($0.bytes)) })

    subscript(path: String) -> File? { files[path] }
    func path(_ name: String) -> String { paths[name] ?? "/assets/\(name)" }
    var icons: String { path("icons.svg") }

    private static func contentType(_ name: String) -> String {
        if name.hasSuffix(".css") { return "text/css; charset=utf-8" }
        if name.hasSuffix(".js") { return "text/javascript; charset=utf-8" }
        return name.hasSuffix(".svg") ? "image/svg+xml" : "application/octet-stream"
    }

    /// FNV-1a, 64 bits: tells versions of our own files apart for caches, protects nothing.
    private static func digest(_ bytes: [UInt8]) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let text = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}

/// Everything that CAssets holds, by name.
enum Embedded {
    static var all: [(name: String, bytes: UnsafeBufferPointer<UInt8>)] {
        (0..<Int(vagus_asset_count())).map { index in
            let asset = vagus_asset(index)
            return (String(cString: asset.name), UnsafeBufferPointer(start: asset.bytes, count: asset.size))
        }
    }
}
