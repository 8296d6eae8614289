import API
import Foundation

/// Finds files of runs on this machine's disk.
struct LocalArtifacts: Sendable {
    /// Where files of an artifact proxy lie, or where a copy of an artifact root lies here; nil: not told.
    var root: String?
    /// What relative addresses and the usual folders are beside.
    var base: String
    /// Files of one run or model.
    private static let fileLimit = 1_000_000

    /// Folders in which MLflow's server keeps proxied artifacts, beside its database, when nothing else is said.
    private static let usual = ["mlartifacts", "mlruns", "artifacts"]

    func files(of owner: FileOwner) throws -> FoundFiles {
        if Addresses.isRemote(owner.address) { return .elsewhere }
        if owner.address.isEmpty { return .here([]) }
        var roots: [String] = []
        var tail =
            owner.isModel
            ? "\(owner.experiment)/models/\(owner.id)/artifacts" : "\(owner.experiment)/\(owner.id)/artifacts"
        if let proxied = Addresses.proxied(owner.address) {
            tail = proxied
            roots = root.map { [$0] } ?? Self.usual.map { "\(base)/\($0)" }
        } else {
            let folder = local(owner.address)
            if isFolder(folder) { return .here(try list(folder)) }
            if let root { roots.append(root) }
            // Nothing was ever logged when the folder is missing and the artifact root is not.
            roots.append(Self.above(folder, owner.isModel ? 4 : 3))
        }
        for root in roots where isFolder("\(root)/\(tail)") { return .here(try list("\(root)/\(tail)")) }
        if roots.contains(where: isFolder) { return .here([]) }
        return .missing(roots.first ?? owner.address)
    }

    /// "file:///a/b", "a/b" or "/a/b" as a path.
    private func local(_ address: String) -> String {
        var path = address
        if address.hasPrefix("file:") {
            path = String(address.dropFirst(5))
            if path.hasPrefix("//") { path = String(path.dropFirst(2).drop { $0 != "/" }) }
            path = path.removingPercentEncoding ?? path
        }
        return path.hasPrefix("/") ? path : "\(base)/\(path)"
    }

    private static func above(_ path: String, _ count: Int) -> String {
        path.split(separator: "/").dropLast(count).reduce("") { "\($0)/\($1)" }
    }

    private func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return !path.isEmpty && FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            && isFolder.boolValue
    }

    /// Plain files below a folder, by path. Links that lead elsewhere are not followed.
    private func list(_ folder: String) throws -> [SourceFile] {
        var files: [SourceFile] = []
        guard let walk = FileManager.default.enumerator(atPath: folder) else { return [] }
        while let path = walk.nextObject() as? String {
            guard let facts = walk.fileAttributes, facts[.type] as? FileAttributeType == .typeRegular else { continue }
            let bytes = (facts[.size] as? NSNumber)?.int64Value ?? 0
            files.append(SourceFile(path: path, bytes: bytes, place: "\(folder)/\(path)"))
            guard files.count <= Self.fileLimit else {
                throw Problem(
                    "move.too-many-files", status: 422, "there are more than \(Self.fileLimit) files in \"\(folder)\"",
                    hint: "Move this run's files by hand, or take the run out of the source.")
            }
        }
        return files.sorted { $0.path < $1.path }
    }
}
