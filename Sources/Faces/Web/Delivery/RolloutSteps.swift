import API

/// The steps of a rollout in words, with where it stands.
enum RolloutSteps {
    static func rows(_ service: ServiceStatus, _ spec: ServiceSpec?) -> [ServicePage.StepRow] {
        guard let spec, spec.rollout.strategy == .canary, !spec.rollout.steps.isEmpty else { return [] }
        let steps = spec.rollout.steps
        var rows = steps.enumerated().map { index, step in row(index, words(step), service) }
        rows.append(row(steps.count, "All traffic", service))
        return rows
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
