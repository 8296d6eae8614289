import API
import Manifests

/// How long the rest of a rollout takes, and how much it can hurt, before somebody presses the button.
enum RolloutForecast {
    /// In a sentence; nil when there is nothing to foretell.
    static func words(_ rollout: RolloutSpec?, from step: Int) -> String? {
        guard let rollout, rollout.strategy == .canary, step < rollout.steps.count else { return nil }
        let rest = rollout.steps.dropFirst(step)
        let seconds = rest.reduce(0.0) { $0 + self.seconds($1, rollout) }
        let people = rest.count { $0.pause != nil && $0.pause?.for == nil }
        let share = rest.compactMap(\.weight).first
        var words = "The steps that are left take about \(TimeSpan(seconds: seconds.rounded())) or more"
        if people > 0 { words += ", and \(people == 1 ? "a pause" : "\(people) pauses") that only a person ends" }
        if let share { words += "; until the next of them at most \(share) % of the requests see it" }
        return words + "."
    }

    /// The time that a step takes at least.
    static func seconds(_ step: RolloutStepSpec, _ rollout: RolloutSpec) -> Double {
        if let pause = step.pause { return pause.for?.seconds ?? 0 }
        if let mirror = step.mirror { return mirror.for?.seconds ?? 0 }
        if let experiment = step.experiment { return experiment.for.seconds }
        return (step.analyze ?? []).map { name in
            let spec = rollout.analysis[name] ?? AnalysisSpec()
            let first = spec.initial_delay.seconds > 0 ? spec.initial_delay.seconds : spec.interval.seconds
            return first + spec.interval.seconds * Double((spec.count ?? 1) - 1)
        }.max() ?? 0
    }
}
