import API
import Foundation
import Kernel
import Manifests

/// Files through which a step speaks; it finds their paths in variables of these names, and makes them by writing there.
enum StepFile: String, CaseIterable, Sendable {
    /// Values for later steps and jobs: `key=value` lines, or `key<<END`, lines, `END`.
    case output = "VAGUS_OUTPUT"
    /// Variables of later steps, written the same way.
    case env = "VAGUS_ENV"
    /// Folders in which later steps find programs first, one a line.
    case path = "VAGUS_PATH"
    /// What it has to say to people, in Markdown.
    case summary = "VAGUS_SUMMARY"

    func place(in folder: String) -> String { "\(folder)/\(rawValue.dropFirst(6).lowercased()).txt" }

    /// Bytes of the file.
    var limit: Int {
        switch self {
        case .output, .env, .summary: 1 << 20
        case .path: 64 << 10
        }
    }

    func read(in folder: String) throws -> String {
        var status = stat()
        // A step may have put anything there: only a file of its own counts.
        guard lstat(place(in: folder), &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return "" }
        guard status.st_size <= limit else {
            throw Problem(
                "\(rawValue.dropFirst(6).lowercased()).size", status: 413,
                "$\(rawValue) is larger than \(limit >> 10) KiB",
                hint: "Keep large things as artifacts.")
        }
        return String(decoding: FileManager.default.contents(atPath: place(in: folder)) ?? Data(), as: UTF8.self)
    }
}

/// What the steps of a job have set for those behind them.
struct LaterSteps: Manifest {
    var variables: Ordered<String> = [:]
    /// Folders to be found before those of PATH, the newest first.
    var path: [String] = []
    /// Keys of the job's caches, as they were when the files had just been checked out.
    var cache_keys: [String] = []
    init() {}
    static let fields: [Field<Self>] = [
        .optional("variables", \.variables, "Variables."), .optional("path", \.path, "Folders."),
        .optional("cache_keys", \.cache_keys, "Keys of caches."),
    ]

    /// Names that $VAGUS_ENV must not set: with them a step could take over the programs of the runner and of later
    /// steps, or speak for them.
    static let refusedNames: Set<String> = [
        "PATH", "ENV", "BASH_ENV", "IFS", "NODE_OPTIONS", "PERL5OPT", "PYTHONSTARTUP", "RUBYOPT",
    ]
    static let refusedPrefixes = ["VAGUS_", "LD_", "GIT_CONFIG", "BASH_FUNC_"]
    /// Folders and variables that are kept.
    static let limit = 1000

    /// Takes in what a step wrote to $VAGUS_ENV and $VAGUS_PATH.
    mutating func add(env: String, path text: String) throws(Problem) {
        for (name, value) in try KeyValues.parse(env, as: .env) {
            let isRefused = Self.refusedNames.contains(name) || Self.refusedPrefixes.contains { name.hasPrefix($0) }
            guard !isRefused else {
                throw Problem(
                    "env.refused", status: 422, "$VAGUS_ENV must not set \"\(name)\"",
                    hint: name == "PATH" ? "Write the folder to $VAGUS_PATH." : "Set it in the step that needs it.")
            }
            variables[name] = value
        }
        for line in text.split(whereSeparator: \.isNewline) {
            let folder = line.trimmingCharacters(in: .whitespaces)
            guard !folder.contains(":") else {
                throw Problem("path.colon", status: 422, "$VAGUS_PATH has a folder with a colon: \(folder.prefix(60))")
            }
            if folder.isEmpty { continue }
            path.removeAll { $0 == folder }
            path.insert(folder, at: 0)
        }
        guard variables.count <= Self.limit, path.count <= Self.limit else {
            throw Problem("env.count", status: 413, "the steps have set more than \(Self.limit) variables or folders")
        }
    }
}

/// `key=value` lines, or `key<<END`, lines, `END`.
enum KeyValues {
    static func parse(_ text: String, as file: StepFile = .output) throws(Problem) -> Ordered<String> {
        var values = Ordered<String>()
        var lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }[...]
        while let line = lines.popFirst() {
            if line.allSatisfy(\.isWhitespace) { continue }
            let sign = line.firstIndex(of: "=")
            if let mark = line.range(of: "<<"), sign.map({ mark.lowerBound < $0 }) ?? true {
                let end = line[mark.upperBound...]
                var value: [Substring] = []
                var isClosed = false
                while let next = lines.popFirst() {
                    isClosed = next == end
                    if isClosed { break }
                    value.append(next)
                }
                guard isClosed, !end.isEmpty else {
                    throw Problem(
                        "outputs.open", status: 422, "$\(file.rawValue) has no line \"\(end)\" that ends a value")
                }
                try set(line[..<mark.lowerBound], value.joined(separator: "\n"), in: &values, file)
            } else if let sign {
                try set(line[..<sign], String(line[line.index(after: sign)...]), in: &values, file)
            } else {
                throw Problem(
                    "outputs.line", status: 422,
                    "$\(file.rawValue) has a line that is no key=value: \(line.prefix(60))")
            }
        }
        return values
    }

    private static func set(
        _ key: Substring, _ value: String, in values: inout Ordered<String>, _ file: StepFile
    ) throws(Problem) {
        let isName =
            !key.isEmpty && key.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-") }
        guard isName, file != .env || (!key.contains("-") && key.first?.isNumber == false) else {
            throw Problem("outputs.key", status: 422, "\"\(key.prefix(60))\" cannot be a name in $\(file.rawValue)")
        }
        values[String(key)] = value
    }
}
