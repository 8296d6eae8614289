import API
import Manifests
import Synchronization

/// Which rules are worked out again and again, and how that went.
final class RuleBook: Sendable {
    struct Group: Sendable {
        var name: String
        /// "PROJECT/FILE or manifest": what Prometheus calls the file.
        var file: String
        var every: TimeSpan
        var limit: Int
        var rules: [RuleStatus]
    }

    private let state = Mutex<[Group]>([])

    var groups: [Group] { state.withLock { $0 } }

    /// Takes the groups of a new plan; what is known of a rule that stays is kept.
    func replace(_ groups: [Group]) {
        state.withLock { state in
            let known = Dictionary(
                state.flatMap(\.rules).map { ("\($0.group)\n\($0.name)\n\($0.query)", $0) }, uniquingKeysWith: { $1 })
            state = groups.map { group in
                var group = group
                group.rules = group.rules.map { rule in
                    var kept = known["\(rule.group)\n\(rule.name)\n\(rule.query)"] ?? rule
                    kept.every = rule.every
                    return kept
                }
                return group
            }
        }
    }

    func note(_ group: Int, _ rule: Int, _ change: (inout RuleStatus) -> Void) {
        state.withLock { state in
            guard state.indices.contains(group), state[group].rules.indices.contains(rule) else { return }
            change(&state[group].rules[rule])
        }
    }
}
