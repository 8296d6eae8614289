import API

/// Which versions may go; pure.
enum Retention {
    /// Who refers to versions of a model, each with words for people.
    struct References: Sendable {
        /// Number → why it must stay.
        var reasons: [Int: String] = [:]

        mutating func add(_ number: Int, _ reason: String) {
            if reasons[number] == nil { reasons[number] = reason }
        }
    }

    /// - Parameters:
    ///   - versions: All of a model, newest first.
    ///   - files: Number → digest and size of each file; files that a version that stays has too are not counted.
    static func plan(
        _ versions: [ModelVersion], files: [Int: [String: Int64]], keep: Int, after: Duration, _ references: References,
        now: Timestamp
    ) -> ModelPrunePlan {
        var plan = ModelPrunePlan()
        var stays = Set<String>()
        for (index, version) in versions.enumerated() {
            let isOld = index >= keep && version.created_at.advanced(by: after) <= now
            let reason = references.reasons[version.version]
            if !isOld || reason != nil { stays.formUnion((files[version.version] ?? [:]).keys) }
            guard isOld else { continue }
            var item = ModelPruned()
            (item.version, item.bytes) = (version.version, version.size_bytes)
            if let reason {
                item.reason = reason
                plan.kept.append(item)
            } else {
                item.reason = "older than \(days(after)) and not among the newest \(keep)"
                plan.removed.append(item)
            }
        }
        var gone: [String: Int64] = [:]
        for item in plan.removed {
            for (digest, size) in files[item.version] ?? [:] where !stays.contains(digest) { gone[digest] = size }
        }
        plan.bytes = gone.values.reduce(0, +)
        return plan
    }

    private static func days(_ duration: Duration) -> String {
        let seconds = duration.components.seconds
        return seconds % 86_400 == 0 ? "\(seconds / 86_400) days" : "\(seconds) seconds"
    }
}
