import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// XGBoost's shared library, opened at run time and kept open for the life of the process.
///
/// The PyPI package `xgboost-cpu` carries it without Python or CUDA; `scripts/setup-xgboost` fetches it. Nothing but
/// XGBoost models needs it.
package struct XGBoostLibrary: Sendable {
    /// Three numbers that order by age.
    package struct Version: Sendable, Comparable, CustomStringConvertible {
        package let major: Int
        package let minor: Int
        package let patch: Int

        package var description: String { "\(major).\(minor).\(patch)" }

        package static func < (left: Self, right: Self) -> Bool {
            (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
        }

        /// Whether a model of this version may hold what a library of `other` reads wrongly: patches keep the format.
        func isNewerFormat(than other: Version) -> Bool { (major, minor) > (other.major, other.minor) }
    }

    /// The oldest library whose C interface has all that is used here.
    package static let oldest = Version(major: 1, minor: 7, patch: 0)
    /// The file that is looked for.
    package static let fileName = "libxgboost.so"
    static let hint = """
        Run scripts/setup-xgboost (it fetches the PyPI package xgboost-cpu: pip download --no-deps xgboost-cpu), \
        or set `xgboost_library` to the path of \(fileName).
        """

    package let path: String
    package let version: Version
    let functions: XGBoostFunctions

    /// Opens the library at `path`, and before it the `libgomp` that may lie beside it.
    package init(path: String) throws(LearnerError) {
        Self.openCompanions(of: path)
        // Never closed: code and thread-local data of the library are in use until the process ends.
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            let reason = dlerror().map { String(cString: $0) } ?? "unknown reason"
            throw LearnerError(.libraryMissing, "could not open the XGBoost library: \(reason)", hint: Self.hint)
        }
        functions = try XGBoostFunctions { dlsym(handle, $0) }
        var (major, minor, patch): (Int32, Int32, Int32) = (0, 0, 0)
        functions.version(&major, &minor, &patch)
        version = Version(major: Int(major), minor: Int(minor), patch: Int(patch))
        self.path = path
        guard version >= Self.oldest else {
            throw LearnerError(
                .libraryTooOld, "XGBoost \(version) at \(path) is older than \(Self.oldest)", hint: Self.hint)
        }
    }

    /// Finds and opens the library: `explicit` and nothing else when given, else the first of `places` that exists.
    package static func find(explicit: String?, places: [String] = usualPlaces()) throws(LearnerError) -> Self {
        if let explicit, !explicit.isEmpty {
            guard FileManager.default.fileExists(atPath: explicit) else {
                throw LearnerError(.libraryMissing, "no XGBoost library at \"\(explicit)\"", hint: hint)
            }
            return try Self(path: explicit)
        }
        guard let path = places.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
            throw LearnerError(.libraryMissing, "the XGBoost library was not found", hint: hint)
        }
        return try Self(path: path)
    }

    /// Where the library is looked for, best first: beside the executable, the cache that `scripts/setup-xgboost`
    /// fills, the system's folders.
    package static func usualPlaces() -> [String] {
        var places: [String] = []
        if let executable = Bundle.main.executablePath {
            let folder = URL(fileURLWithPath: executable).resolvingSymlinksInPath().deletingLastPathComponent()
            places += ["lib/\(fileName)", "lib/xgboost/lib/\(fileName)"].map { folder.appendingPathComponent($0).path }
        }
        places += cachedPlaces(below: cacheFolder())
        let triples = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        let system = triples.map { "/usr/lib/\($0)" } + ["/usr/local/lib"]
        // Debian's package without headers has only the name with the interface's number.
        return places + system.flatMap { ["\($0)/\(fileName)", "\($0)/\(fileName).0"] }
    }

    /// `<cache>/<version>/xgboost/lib/libxgboost.so`, newest version first.
    static func cachedPlaces(below cache: String?) -> [String] {
        guard let cache else { return [] }
        // An unreadable or absent cache holds nothing.
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: cache)) ?? []  // absent means empty
        return versions.sorted { $0.compare($1, options: .numeric) == .orderedDescending }
            .map { "\(cache)/\($0)/xgboost/lib/\(fileName)" }
    }

    private static func cacheFolder() -> String? {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        let root = variable("XDG_CACHE_HOME") ?? variable("HOME").map { $0 + "/.cache" }
        return root.map { $0 + "/vagus/xgboost" }
    }

    /// A library moved out of its wheel does not find its own `libgomp` any more; one already open is taken by name.
    private static func openCompanions(of path: String) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []  // dlopen tells the reason
        for file in files where file.hasPrefix("libgomp") && file.contains(".so") {
            _ = dlopen("\(folder)/\(file)", RTLD_NOW | RTLD_LOCAL)
        }
    }

    /// Throws what the library says of its last call, when that failed.
    func check(_ status: Int32, _ doing: String, as code: LearnerError.Code = .other) throws(LearnerError) {
        guard status != 0 else { return }
        let text = functions.lastError().map { String(cString: $0) } ?? ""
        let reason = Self.reason(in: text)
        throw LearnerError(Self.code(of: reason) ?? code, "XGBoost could not \(doing): \(reason)")
    }

    /// The telling part of a message such as "[09:12:01] /src/x.cc:88: Check failed: a > b: label is negative",
    /// without time, source place, failed expression and stack.
    static func reason(in text: String) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
        if let stack = lines.firstIndex(where: { $0.hasPrefix("Stack trace") }) { lines.removeSubrange(stack...) }
        var reason = lines.joined(separator: " ")
        if reason.hasPrefix("["), let end = reason.range(of: "] ") { reason.removeSubrange(..<end.upperBound) }
        if reason.hasPrefix("/"), let end = reason.range(of: ": ") { reason.removeSubrange(..<end.upperBound) }
        let trimmed = reason.trimmingCharacters(in: .whitespaces)
        return trimmed.isEmpty ? "unknown reason" : String(trimmed.prefix(500))
    }

    private static func code(of reason: String) -> LearnerError.Code? {
        let lower = reason.lowercased()
        if lower.contains("label") { return .badValue }
        let signs = ["parameter", "unknown objective", "unknown metric", "expect ", "should be greater", "bound"]
        return signs.contains(where: lower.contains) ? .badParameter : nil
    }
}
