import API

/// Which caches a run may read, and which it makes: by what set it off, never by its own word.
///
/// A run of a branch or tag makes caches of that ref, and reads those of the default branch too. A pull request makes
/// caches that only it reads, and reads those of the branch that it goes into: so nothing it has made ever reaches a
/// branch, and a branch's build cannot be poisoned from outside.
struct CacheScope: Sendable, Equatable {
    var repository: String
    var writes: String
    /// In the order in which they are looked through.
    var reads: [String]

    init(_ run: Run, defaultBranch: String) {
        let trigger = run.trigger
        repository = run.repository ?? ""
        let fallback = "ref:refs/heads/\(defaultBranch)"
        var reads: [String]
        if trigger.number != nil || !trigger.is_trusted {
            writes = trigger.number.map { "pr:\($0)" } ?? "run:\(run.id)"
            reads = [writes]
            if let base = trigger.base_ref { reads.append("ref:\(Self.full(base))") }
        } else {
            writes = trigger.ref.map { "ref:\($0)" } ?? (repository.isEmpty ? "pipeline:\(run.pipeline)" : fallback)
            reads = [writes]
        }
        if !repository.isEmpty, !reads.contains(fallback) { reads.append(fallback) }
        self.reads = reads
    }

    private static func full(_ branch: String) -> String {
        branch.hasPrefix("refs/") ? branch : "refs/heads/\(branch)"
    }
}
