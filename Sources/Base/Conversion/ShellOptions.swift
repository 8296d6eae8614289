/// Options that a shell reads a script with there. Here bash has `-euo pipefail` and sh has `-eu`.
struct ShellOptions: Equatable {
    var endsAtFailure = true
    var endsAtUnset = false
    var mindsPipes = false

    static let reason =
        "scripts are read with -euo pipefail here: where that may differ they begin with `set +…`, to be read as before"

    /// Variables that every script finds set.
    private static let alwaysSet: Set<String> = ["HOME", "PATH", "PWD", "IFS", "RANDOM", "SECONDS"]

    /// The script, behind a line that takes away what its shell would not mind there, where it could tell.
    ///
    /// `known` are names of variables that are set.
    func applied(to script: String, isBash: Bool, known: Set<String>) -> String {
        let own = Self.firstWords(of: script)
        let readsOthers = Self.readsOthers(script)
        var words: [String] = []
        if !endsAtFailure { words.append("+e") }
        let isStrict = own.contains { $0.hasPrefix("-") && $0.contains("u") }
        if !endsAtUnset, !isStrict, readsOthers || Self.readsVariables(script, besides: known) { words.append("+u") }
        if isBash, !mindsPipes, !own.contains("pipefail"), readsOthers || Self.hasPipe(script) {
            words.append("+o pipefail")
        }
        return words.isEmpty ? script : "set \(words.joined(separator: " "))\n\(script)"
    }

    /// The words of a `set` that the script begins with.
    private static func firstWords(of script: String) -> [String] {
        let lines = script.split(separator: "\n").map { String($0).trimmed }
        guard let first = lines.first(where: { !$0.isEmpty && !$0.hasPrefix("#") }), first.hasPrefix("set ") else {
            return []
        }
        return first.prefix { $0 != ";" && $0 != "&" }.split(separator: " ").map(String.init)
    }

    private static func readsVariables(_ script: String, besides known: Set<String>) -> Bool {
        let names = Words.variables(in: script)
        if names.contains(where: { !known.contains($0) && !alwaysSet.contains($0) && !$0.hasPrefix("VAGUS") }) {
            return true
        }
        // $1, ${2}, ${!name} and ${#name}.
        return script.split(separator: "$", omittingEmptySubsequences: false).dropFirst().contains { piece in
            guard let first = piece.drop(while: { $0 == "{" }).first else { return false }
            return "123456789".contains(first) || piece.hasPrefix("{!") || piece.hasPrefix("{#")
        }
    }

    /// Whether it reads in other scripts, of which nothing is known.
    private static func readsOthers(_ script: String) -> Bool {
        script.split(whereSeparator: { "\n;&|(".contains($0) }).contains { command in
            ["source", ".", "eval"].contains(command.split(separator: " ").first ?? "")
        }
    }

    private static func hasPipe(_ script: String) -> Bool {
        let characters = Array(script)
        return characters.indices.contains { at in
            characters[at] == "|" && (at == 0 || characters[at - 1] != "|")
                && (at + 1 == characters.count || characters[at + 1] != "|")
        }
    }
}

extension ShellOptions {
    /// `shell` of GitHub: nothing is `bash -e {0}`, "bash" has pipefail, and of `bash -l {0}` counts what is written.
    init(shell: String?) {
        guard let shell else { return }
        let words = shell.split(separator: " ")
        mindsPipes = shell == "bash" || words.contains("pipefail")
        guard words.count > 1 else { return }
        let short = words.dropFirst().filter { $0.hasPrefix("-") && !$0.hasPrefix("--") }
        endsAtFailure = short.contains { $0.contains("e") }
        endsAtUnset = short.contains { $0.contains("u") }
    }
}
