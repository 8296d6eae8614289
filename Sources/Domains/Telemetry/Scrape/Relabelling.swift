import API
import Crypto
import Series

/// Steps of relabelling, made ready: what becomes of a target's or a series' labels.
struct Relabelling: Sendable {
    private struct Step: Sendable {
        var spec: RelabelSpec
        var pattern: LabelPattern
    }

    private let steps: [Step]

    /// Steps whose pattern cannot be read are left out: `admit` has refused them.
    init(_ specs: [RelabelSpec]) {
        steps = specs.compactMap { spec in
            (try? LabelPattern(spec.regex)).map { Step(spec: spec, pattern: $0) }  // refused when it was applied
        }
    }

    var isEmpty: Bool { steps.isEmpty }

    /// The labels afterwards; nil when they are dropped.
    func apply(_ labels: Labels) -> Labels? {
        if steps.isEmpty { return labels }
        var pairs: [String: String] = [:]
        for pair in labels.pairs { pairs[pair.name] = pair.value }
        guard apply(&pairs) else { return nil }
        return Labels(pairs)
    }

    /// Changes labels; false when they are dropped.
    func apply(_ pairs: inout [String: String]) -> Bool {
        for step in steps where !Self.apply(step, &pairs) { return false }
        return true
    }

    private static func apply(_ step: Step, _ pairs: inout [String: String]) -> Bool {
        let spec = step.spec
        let value = spec.source_labels.map { pairs[$0] ?? "" }.joined(separator: spec.separator)
        let target = spec.target_label ?? ""
        switch spec.action {
        case .keep: return step.pattern.matches(value)
        case .drop: return !step.pattern.matches(value)
        case .keepequal: return (pairs[target] ?? "") == value
        case .dropequal: return (pairs[target] ?? "") != value
        case .replace:
            guard step.pattern.matches(value) else { return true }
            // The label's own name may hold groups, too.
            let name = step.pattern.replacing(value, with: target) ?? target
            set(name, step.pattern.replacing(value, with: spec.replacement) ?? spec.replacement, &pairs)
        case .lowercase: set(target, value.lowercased(), &pairs)
        case .uppercase: set(target, value.uppercased(), &pairs)
        case .hashmod: set(target, String(hash(value) % UInt64(max(1, spec.modulus))), &pairs)
        case .labelmap:
            for (name, value) in pairs where step.pattern.matches(name) {
                set(step.pattern.replacing(name, with: spec.replacement) ?? name, value, &pairs)
            }
        case .labeldrop: pairs = pairs.filter { !step.pattern.matches($0.key) }
        case .labelkeep: pairs = pairs.filter { step.pattern.matches($0.key) }
        }
        return true
    }

    private static func set(_ name: String, _ value: String, _ pairs: inout [String: String]) {
        guard !name.isEmpty else { return }
        pairs[name] = value.isEmpty ? nil : value
    }

    /// The last eight bytes of the MD5, as Prometheus takes them: the same targets go to the same shard on both.
    private static func hash(_ text: String) -> UInt64 {
        Insecure.MD5.hash(data: Array(text.utf8)).suffix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
