import API

/// The steps of a rollout in words, with where it stands.
enum RolloutSteps {
    static func rows(_ service: ServiceStatus, _ spec: ServiceSpec?) -> [ServicePage.StepRow] {
        guard let spec else { return [] }
        let steps = words(spec.rollout)
        guard !steps.isEmpty else { return [] }
        var rows = steps.enumerated().map { index, step in row(index, step, service) }
        rows.append(row(steps.count, "All traffic", service))
        return rows
    }

    /// The steps of each strategy, as the rollout counts them.
    private static func words(_ spec: RolloutSpec) -> [String] {
        switch spec.strategy {
        case .canary: return spec.steps.map(words)
        case .rolling, .recreate: return []
        case .a_b_testing:
            guard let test = spec.test else { return [] }
            return ["\(test.share) % of the clients", "Judge which side has more of \"\(test.outcome)\""]
        case .blue_green:
            var steps = ["Preview"]
            if !spec.before_promotion.isEmpty { steps.append("Judge \(spec.before_promotion.joined(separator: ", "))") }
            if let after = spec.auto_promote_after {
                steps.append("Pause for \(after)")
            } else if !spec.auto_promote {
                steps.append("Pause until somebody promotes")
            }
            if spec.switch_strategy == .gradual {
                for weight in [25, 50, 75] {
                    steps += ["\(weight) % of the traffic", "Pause for \(spec.switch_interval)"]
                }
            }
            if !spec.after_promotion.isEmpty {
                steps += ["All traffic, on trial", "Judge \(spec.after_promotion.joined(separator: ", "))"]
            }
            return steps
        }
    }

    static func words(_ step: RolloutStepSpec) -> String {
        if let pause = step.pause { return pause.for.map { "Pause for \($0)" } ?? "Pause until somebody promotes" }
        if let names = step.analyze { return "Judge \(names.joined(separator: ", "))" }
        let words = step.words
        return words.prefix(1).uppercased() + words.dropFirst()
    }

    private static func row(_ index: Int, _ what: String, _ service: ServiceStatus) -> ServicePage.StepRow {
        // A rollout that was promoted has done all steps; one that never began has no step.
        let isWhole = service.completion == .promoted || service.completion == .fast_promoted
        let at = service.step ?? (isWhole ? Int.max : -1)
        if isWhole || index < at {
            return .init(tone: .ok, icon: "ok", state: "done", what: what, note: "done", why: nil)
        }
        guard index == at else {
            return .init(
                tone: .mute, icon: service.aborted ? "skipped" : "queued",
                state: service.aborted ? "not reached" : "to come", what: what,
                note: service.aborted ? "not reached" : "", why: nil)
        }
        if service.aborted {
            return .init(
                tone: .bad, icon: "abort", state: "aborted here", what: what, note: "aborted here", why: service.message
            )
        }
        if service.phase == .paused {
            return .init(
                tone: .warn, icon: "paused", state: "paused here", what: what, note: "now", why: service.message)
        }
        return .init(tone: .run, icon: "running", state: "under way", what: what, note: "now", why: service.step_name)
    }
}
