import API
import Globs

/// Whether refs and files are those that a trigger waits for; pure.
enum TriggerFilters {
    /// - Parameter otherwise: The answer when neither list says anything.
    static func names(_ text: String, _ taken: [String], butNot ignored: [String], otherwise: Bool) -> Bool {
        if !taken.isEmpty { return GlobList(taken).names(text) }
        if !ignored.isEmpty { return !GlobList(ignored).names(text) }
        return otherwise
    }

    /// Whether one of the files is named, or, for `ignored`, whether one is not; nil: nobody knows what changed.
    static func touches(_ changed: [String]?, _ paths: [String], butNot ignored: [String]) -> Bool {
        guard let changed else { return true }
        if !paths.isEmpty {
            let globs = GlobList(paths)
            return changed.contains(where: globs.names)
        }
        guard !ignored.isEmpty else { return true }
        let globs = GlobList(ignored)
        return changed.contains { !globs.names($0) }
    }
}

extension PushTrigger {
    var asksForPaths: Bool { !paths.isEmpty || !paths_ignore.isEmpty }

    /// Whether a push to a branch that changed these files sets the pipeline off.
    func heeds(branch: String, default main: String, changed: [String]?) -> Bool {
        let otherwise = tags.isEmpty && branch == main
        return TriggerFilters.names(branch, branches, butNot: branches_ignore, otherwise: otherwise)
            && TriggerFilters.touches(changed, paths, butNot: paths_ignore)
    }

    /// Whether a push of a tag does; files do not matter then.
    func heeds(tag: String) -> Bool { GlobList(tags).names(tag) }
}

extension PullRequestTrigger {
    var asksForPaths: Bool { !paths.isEmpty || !paths_ignore.isEmpty }

    func heeds(_ action: Action, base: String, changed: [String]?) -> Bool {
        types.contains(action)
            && TriggerFilters.names(base, branches, butNot: branches_ignore, otherwise: true)
            && TriggerFilters.touches(changed, paths, butNot: paths_ignore)
    }
}
