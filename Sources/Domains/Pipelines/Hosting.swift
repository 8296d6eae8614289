import API
import Foundation
import Globs
import Kernel
import Manifests
import Synchronization

/// What vagus writes into a repository that it hosts: its settings and the hooks that keep its branches.
///
/// The hooks are plain shell and read what is protected from the repository's own settings, so that a push by a path on this
/// machine is held to the same rules as one over HTTP.
final class Hosting: Sendable {
    /// Folder of all hosted repositories.
    private let repositories: String
    /// Specs that are written: most looks find nothing to do, and read no file.
    private let prepared = Mutex<[Reference<RepositoryKind>: RepositorySpec]>([:])

    init(repositories: String) { self.repositories = repositories }

    /// Folder of the hooks in it; no project can be called so.
    static let hooksFolder = "_hooks"
    /// Folder in a repository where the pre-receive hook notes pushes.
    static let notesFolder = "vagus-pushes"
    static let settingsFile = "vagus.config"

    /// Writes settings and hooks where they differ from what is there.
    func prepare(_ place: String, _ reference: Reference<RepositoryKind>, _ spec: RepositorySpec, isNew: Bool)
        throws
    {
        guard isNew || prepared.withLock({ $0[reference] }) != spec else { return }
        let hooks = "\(repositories)/\(Self.hooksFolder)"
        try FileManager.default.createDirectory(atPath: hooks, withIntermediateDirectories: true)
        try FileManager.default.createDirectory(
            atPath: "\(place)/\(Self.notesFolder)", withIntermediateDirectories: true)
        try write(Self.update, to: "\(hooks)/update", mode: 0o755)
        try write(Self.preReceive, to: "\(hooks)/pre-receive", mode: 0o755)
        try write(Self.settings(spec), to: "\(place)/\(Self.settingsFile)", mode: 0o644)
        try write("ref: refs/heads/\(spec.default_branch)\n", to: "\(place)/HEAD", mode: 0o644)
        let config = "\(place)/config"
        let text = (try? String(contentsOfFile: config, encoding: .utf8)) ?? ""  // absent: git is asked to mend it
        if !text.contains(Self.settingsFile) {
            try write(text + "[include]\n\tpath = \(Self.settingsFile)\n", to: config, mode: 0o644)
        }
        prepared.withLock { $0[reference] = spec }
    }

    private func write(_ text: String, to path: String, mode: Int) throws {
        if FileManager.default.contents(atPath: path) == Data(text.utf8) { return }
        try Data(text.utf8).write(to: URL(filePath: path), options: .atomic)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    /// Git's settings of one repository.
    static func settings(_ spec: RepositorySpec) -> String {
        var text = """
            # Written by vagus from the repository's manifest; what is changed here is lost.
            [core]
            \thooksPath = ../../\(hooksFolder)
            [http]
            \treceivepack = true
            [receive]
            \tadvertisePushOptions = true
            \tmaxInputSize = \(PipelineLimits.pushBytes)
            \tautogc = false
            \tdenyDeleteCurrent = ignore
            [gc]
            \tautoDetach = false
            \tpruneExpire = 90.days.ago
            [uploadpack]
            \tallowAnySHA1InWant = true
            \tallowFilter = true
            [vagus]

            """
        for rule in spec.protected {
            let isFree = rule.branches.hasPrefix("!")
            let word = isFree ? "free" : rule.pull_request_only ? "pull" : "keep"
            let regex = Glob(isFree ? String(rule.branches.dropFirst()) : rule.branches).regularExpression
            text += "\tprotected = \"\(word) \(quoted(regex))\"\n"
        }
        return text
    }

    private static func quoted(_ text: String) -> String {
        text.filter { $0 != "\n" }.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    }

    /// Told for each ref: OLD and NEW commit, all zeros for none.
    static let update = """
        #!/bin/sh
        # Installed by vagus: keeps protected branches, and refs that only vagus sets.
        ref=$1 old=$2 new=$3
        refuse() {
            echo "vagus: $1" >&2
            exit 1
        }
        isNone() { case $1 in *[!0]*) return 1 ;; esac; }
        case $ref in
        refs/heads/*) name=${ref#refs/heads/} ;;
        refs/pull/* | refs/vagus/*) refuse "$ref is set by vagus alone" ;;
        *) exit 0 ;;
        esac
        kind=free
        while read -r word pattern; do
            [ -n "$word" ] || continue
            if printf '%s\\n' "$name" | grep -qE -e "$pattern"; then kind=$word; fi
        done <<END
        $(git config --get-all vagus.protected)
        END
        [ "$kind" = free ] && exit 0
        isNone "$new" && refuse "branch \\"$name\\" is protected: it cannot be deleted"
        isNone "$old" && exit 0
        [ "$kind" = pull ] && refuse "branch \\"$name\\" is protected: it changes only by merging a pull request; push another branch with -o pull_request.create"
        git merge-base --is-ancestor "$old" "$new" || refuse "branch \\"$name\\" is protected: its history cannot be rewritten (no force push)"
        exit 0

        """

    /// Notes who pushes what, with the push options, before any ref moves; whoever sees a ref moved finds the note.
    ///
    /// Tells the pusher of options that say nothing, and where to look for what pipelines have refused.
    static let preReceive = """
        #!/bin/sh
        # Installed by vagus: notes the push, for its options.
        folder=vagus-pushes
        mkdir -p "$folder" || exit 0
        note=$(mktemp "$folder/.note-XXXXXXXXXX") || exit 0
        hasParameters=
        {
            echo "user ${REMOTE_USER:-}"
            count=0
            while [ "$count" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ] && [ "$count" -lt \(PipelineLimits.pushOptions) ]; do
                eval "option=\\$GIT_PUSH_OPTION_$count"
                printf 'option %s\\n' "$option"
                case $option in
                ci.parameter=?*=?*) hasParameters=yes ;;
                ci.parameter*) printf 'vagus: "%s" means nothing: write ci.parameter=NAME=VALUE\\n' "$option" >&2 ;;
                esac
                count=$((count + 1))
            done
            while read -r old new ref; do echo "update $old $new $ref"; done
        } >"$note"
        mv "$note" "$folder/$(date +%s)-$$.push"
        # Pipelines are looked at once the push is in: what they make of a value, nobody can say here yet.
        [ -z "$hasParameters" ] ||
            echo "vagus: a pipeline that refuses a parameter starts no run: vagus audit --name pipeline.not-started" >&2
        exit 0

        """
}

/// A push as the pre-receive hook has noted it.
struct PushNote: Sendable, Equatable {
    var file = ""
    var user: String?
    var options: [String] = []
    /// Ref → the commit that it is to have.
    var updates: [String: String] = [:]
    var age: Duration = .zero

    /// Bytes of one note that are read, and notes that are looked at.
    static let sizeLimit = 1 << 20
    static let countLimit = 1000
    /// After this long a note whose refs did not move is thrown away: the push was refused.
    static let patience: Duration = .seconds(60)

    init(_ text: String) {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { continue }
            switch parts[0] {
            case "user": user = parts[1]
            case "option": options.append(parts[1])
            case "update":
                let words = parts[1].split(separator: " ", maxSplits: 2).map(String.init)
                if words.count == 3 { updates[words[2]] = words[1] }
            default: break
            }
        }
    }

    /// All notes of a repository, oldest first.
    static func all(in place: String, at now: Timestamp) -> [PushNote] {
        let folder = "\(place)/\(Hosting.notesFolder)"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []  // absent: none
        return names.filter { $0.hasSuffix(".push") }.sorted().prefix(countLimit).compactMap { name in
            guard let data = FileManager.default.contents(atPath: "\(folder)/\(name)") else { return nil }
            var note = PushNote(String(decoding: data.prefix(sizeLimit), as: UTF8.self))
            note.file = "\(folder)/\(name)"
            let began = Int64(name.prefix { $0 != "-" }) ?? 0
            note.age = now.since(Timestamp(microseconds: began * 1_000_000))
            return note
        }
    }

    /// Whether nothing is to be expected of it any more.
    func isDone(_ refs: [String: String]) -> Bool {
        age > Self.patience
            || updates.allSatisfy { ref, commit in
                refs[ref] == commit || (commit.allSatisfy { $0 == "0" } && refs[ref] == nil)
            }
    }

    func removeFile() {
        try? FileManager.default.removeItem(atPath: file)  // a note that stays is looked at again and found done
    }

    // MARK: Options

    /// The value of `NAME=VALUE`, "" for `NAME` alone, nil when it was not given.
    func option(_ name: String) -> String? {
        for option in options.reversed() {
            if option == name { return "" }
            if option.hasPrefix(name + "=") { return String(option.dropFirst(name.count + 1)) }
        }
        return nil
    }

    /// `ci.skip`: no run is set off.
    var skips: Bool { option("ci.skip") != nil }

    /// `ci.parameter=KEY=VALUE`.
    var parameters: Ordered<JSONValue> {
        var values = Ordered<JSONValue>()
        for option in options where option.hasPrefix("ci.parameter=") {
            let pair = option.dropFirst("ci.parameter=".count).split(separator: "=", maxSplits: 1)
            if pair.count == 2 { values[String(pair[0])] = .string(String(pair[1])) }
        }
        return values
    }
}
