package import Manifests

// Conversion: pipelines of other systems, said as pipelines of ours.
//
// What comes in: the YAML of a workflow of GitHub Actions or of a `.gitlab-ci.yml`. What goes out: manifests of kind
// Pipeline, and a list of what could not be said, each with its line and why.
//
// Nothing is dropped in silence, by construction: every key is read through a `Cursor`, which notes that it was read;
// when all is done, the keys that nobody has read are listed too (`Ledger.sweep`). A step that has no counterpart becomes
// one that fails with a word, never one that is left out.
//
//   Ledger, Cursor      who has read what                GitHub*   workflows: triggers, jobs, steps, actions
//   ExpressionRewriter  `${{ }}` in their names to ours  GitLab*   jobs: extends and defaults, rules, parts
//   Words               names, times, variables of scripts
//   ShellOptions        what the shell of a script minds there, and not here

/// A file of another system as manifests.
package struct Converted: Sendable {
    /// Documents of kind Pipeline.
    package var documents: [JSONValue] = []
    /// What could not be said, in the order of the file.
    package var notes: [ConversionNote] = []
    /// Every path of the file that found its place in a manifest.
    package var mapped: Set<[String]> = []
    package init() {}
}

/// A part of the file that is not in the manifest as it was.
package struct ConversionNote: Sendable, Equatable {
    /// How much of it is left.
    package enum Kind: String, Sendable {
        /// It is not in the manifest.
        case lost
        /// It is there, but means something a little different.
        case changed
        /// It needs nothing here.
        case needless
    }
    package var kind: Kind
    /// Where in the file: names of keys and positions in lists.
    package var path: [String]
    /// 1-based; nil when the file does not say it itself (a merged key).
    package var line: Int?
    package var reason: String

    package init(kind: Kind, path: [String], line: Int?, reason: String) {
        (self.kind, self.path, self.line, self.reason) = (kind, path, line, reason)
    }

    package var description: String { "line \(line ?? 0): \(path.joined(separator: ".")): \(reason)" }
}

package enum Conversion {
    /// Systems whose files are read.
    package enum Source: String, Sendable, CaseIterable { case github, gitlab }

    /// Tells by its keys which system a file belongs to; nil when it can be neither.
    package static func source(of document: JSONValue) -> Source? {
        guard let members = document.object else { return nil }
        let isWorkflow = members["jobs"]?.object != nil && members["on"] != nil
        if isWorkflow { return .github }
        let hasJob = members.contains { _, value in
            ["script", "trigger", "extends"].contains { value[$0] != nil }
        }
        return hasJob || members["stages"] != nil || members["include"] != nil ? .gitlab : nil
    }

    /// The file as manifests.
    ///
    /// `name` is what to call the pipeline when the file does not; `include` reads another file that this one includes, by
    /// its path in the repository. A file that has not the form that its system asks for is a `ManifestError`.
    package static func convert(
        _ document: YAMLDocument, from source: Source, name: String,
        include: (String) throws -> YAMLDocument? = { _ in nil }
    ) throws -> Converted {
        let ledger = Ledger(document)
        let root = Cursor(value: Merging.merged(document.value), path: [], ledger: ledger)
        guard root.value.object != nil else {
            throw document.placing(
                ManifestError(at: [], message: "the file is a map of keys, not \(root.value.kindName)"))
        }
        var converted = Converted()
        switch source {
        case .github: converted.documents = [GitHubWorkflow(root, name: name).pipeline()]
        case .gitlab: converted.documents = [try GitLabFile(root, name: name, include: include).pipeline()]
        }
        ledger.sweep(root.value)
        (converted.notes, converted.mapped) = (ledger.sortedNotes, ledger.mapped)
        return converted
    }
}

/// Merge keys (`<<`) of YAML 1.1, which both systems know.
package enum Merging {
    static let key = "<<"

    /// The text with merge keys that follow each other in one map joined: `<<: *a`, `<<: *b` becomes `<<: [*b, *a]`.
    ///
    /// GitLab reads a key that is written twice so, later ones going first; YAML knows no such thing. Lines stay in place.
    package static func joined(_ text: String) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var first: (index: Int, indent: Substring, aliases: [String])?
        func close() {
            if let first, first.aliases.count > 1 {
                lines[first.index] = "\(first.indent)\(key): [\(first.aliases.reversed().joined(separator: ", "))]"
            }
            first = nil
        }
        for index in lines.indices {
            let indent = lines[index].prefix { $0 == " " }
            let rest = lines[index].dropFirst(indent.count)
            guard rest.hasPrefix("\(key): *") else {
                if !rest.isEmpty { close() }
                continue
            }
            let alias = String(rest.dropFirst(4)).trimmed
            if let open = first, open.indent == indent {
                first?.aliases.append(alias)
                lines[index] = ""
            } else {
                close()
                first = (index, Substring(String(indent)), [alias])
            }
        }
        close()
        return lines.joined(separator: "\n")
    }

    static func merged(_ value: JSONValue) -> JSONValue {
        switch value {
        case .array(let items): return .array(items.map(merged))
        case .object(let members):
            var out = Ordered<JSONValue>()
            for (name, member) in members where name != key { out[name] = merged(member) }
            let sources = members[key].map { $0.array ?? [$0] } ?? []
            for case .object(let source) in sources.map(merged) {
                for (name, member) in source where out[name] == nil { out[name] = member }
            }
            return .object(out)
        default: return value
        }
    }
}
