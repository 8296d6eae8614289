/// Refuses manifests that would write outside of their folder, or not be what packing makes.
///
/// A manifest may come from anybody who may upload a blob. What is checked here makes laying it out safe: every parent is
/// a folder of the manifest itself, never a link, and every link stays inside.
struct TreeCheck {
    private let tree: Tree

    init(_ tree: Tree) { self.tree = tree }

    func run() throws(BlobError) {
        guard tree.format == 1 else {
            throw BlobError(
                .invalid, "the manifest has format \(tree.format), which is not known here",
                hint: "Use a newer version of this program.")
        }
        guard tree.entries.count <= Tree.entryLimit else {
            throw BlobError(
                .tooLarge, "the manifest has more than \(Tree.entryLimit) paths", hint: "Pack fewer files.")
        }
        var folders: Set<String> = []
        var last: String?
        for entry in tree.entries {
            try checkPath(entry.path, folders)
            // In order and so also each only once.
            if let last, !last.utf8.lexicographicallyPrecedes(entry.path.utf8) {
                throw refusal(entry.path, "is out of order or there twice")
            }
            last = entry.path
            try checkContent(entry)
            if entry.kind == .folder { folders.insert(entry.path) }
        }
    }

    private func checkPath(_ path: String, _ folders: Set<String>) throws(BlobError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !path.isEmpty, path.utf8.count <= Tree.pathLimit else { throw refusal(path, "is empty or too long") }
        guard !path.utf8.contains(0) else { throw refusal(path, "holds a zero byte") }
        guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
            throw refusal(path, "is absolute or has parts that are empty or dots")
        }
        guard parts.count <= Tree.depthLimit else { throw refusal(path, "lies deeper than \(Tree.depthLimit) folders") }
        let parent = parts.dropLast().joined(separator: "/")
        guard parent.isEmpty || folders.contains(parent) else { throw refusal(path, "lies in no folder of the tree") }
    }

    private func checkContent(_ entry: Tree.Entry) throws(BlobError) {
        guard entry.mode <= 0o777 else { throw refusal(entry.path, "has a mode beyond permissions") }
        switch entry.kind {
        case .folder: break
        case .file:
            guard entry.digest != nil, let size = entry.size, size >= 0 else {
                throw refusal(entry.path, "is a file without digest or size")
            }
        case .link:
            guard let target = entry.target, Self.staysInside(target, from: entry.path) else {
                throw refusal(entry.path, "is a link that leads outside: \"\(entry.target ?? "")\"")
            }
        }
    }

    /// True for targets that go up first, no further than the top, and only down from there.
    ///
    /// Up after down is refused even where it seems harmless: with links on the way, `a/b/..` need not be `a`.
    static func staysInside(_ target: String, from path: String) -> Bool {
        guard !target.isEmpty, !target.hasPrefix("/"), !target.utf8.contains(0), target.utf8.count <= Tree.pathLimit
        else { return false }
        var depth = path.split(separator: "/").count - 1
        var goesDown = false
        for part in target.split(separator: "/") where part != "." {
            if part == ".." {
                depth -= 1
                if goesDown || depth < 0 { return false }
            } else {
                goesDown = true
            }
        }
        return true
    }

    private func refusal(_ path: String, _ reason: String) -> BlobError {
        BlobError(
            .invalid, "the path \"\(path.prefix(200))\" \(reason)",
            hint: "Use relative paths, and links that stay inside the folder.")
    }
}
