import API
import Manifests

/// The steps of a rollout, whatever its strategy; after the last comes all traffic.
///
/// Pure. What holds at a step (copies, routes, mirror) is worked out from the steps up to it, so that nothing has to be
/// remembered, and nothing is left when the rollout is over.
struct RolloutPlan: Sendable, Equatable {
    enum Stage: Sendable, Equatable {
        case weight(Int)
        /// Nil: until somebody promotes.
        case pause(Duration?)
        case analyze([String])
        case scale
        case route
        /// Nil: until a later step ends it.
        case mirror(Duration?)
        case experiment(ExperimentSpec)
        /// The copies of the preview are to be well before any traffic.
        case preview
        case all
    }
    let stages: [Stage]
    let strategy: RolloutSpec.Strategy
    /// Steps of a canary, one for each stage.
    private let steps: [RolloutStepSpec]
    /// Copies of blue_green before it switches; nil: all.
    private let previewReplicas: Int?
    /// Name of the judgement of a_b_testing.
    static let outcome = "outcome"

    init(_ settings: RolloutSpec, isDirect: Bool) {
        // Of a program of which there may be one only, there is one only on the way back as well.
        strategy = isDirect && settings.strategy != .recreate ? .blue_green : settings.strategy
        previewReplicas = isDirect ? nil : settings.preview.replicas
        guard !isDirect else {
            (stages, steps) = ([], [])
            return
        }
        steps = settings.strategy == .canary ? Self.canary(settings) : []
        switch settings.strategy {
        case .canary: stages = steps.map(Self.stage)
        case .blue_green: stages = Self.blueGreen(settings)
        case .a_b_testing: stages = [.weight(settings.test?.share ?? 50), .analyze([Self.outcome])]
        case .rolling, .recreate: stages = []
        }
    }

    private static func canary(_ settings: RolloutSpec) -> [RolloutStepSpec] {
        guard let percentage = settings.percentage, settings.steps.isEmpty else { return settings.steps }
        var (weight, pause) = (RolloutStepSpec(), RolloutStepSpec())
        weight.weight = percentage
        pause.pause = PauseSpec()
        pause.pause?.for = settings.duration
        return [weight, pause]
    }

    /// Preview, checks, wait, switch, checks: Argo Rollouts' order; its timer counts from the end of the first checks.
    private static func blueGreen(_ settings: RolloutSpec) -> [Stage] {
        var stages = [Stage.preview]
        if !settings.before_promotion.isEmpty { stages.append(.analyze(settings.before_promotion)) }
        if let after = settings.auto_promote_after {
            stages.append(.pause(after.duration))
        } else if !settings.auto_promote {
            stages.append(.pause(nil))
        }
        if settings.switch_strategy == .gradual {
            for weight in [25, 50, 75] { stages += [.weight(weight), .pause(settings.switch_interval.duration)] }
        }
        if !settings.after_promotion.isEmpty { stages += [.weight(100), .analyze(settings.after_promotion)] }
        return stages
    }

    private static func stage(_ step: RolloutStepSpec) -> Stage {
        if let weight = step.weight { return .weight(weight) }
        if let pause = step.pause { return .pause(pause.for?.duration) }
        if let mirror = step.mirror { return .mirror(mirror.for?.duration) }
        if let experiment = step.experiment { return .experiment(experiment) }
        if step.scale != nil { return .scale }
        if step.route != nil { return .route }
        return .analyze(step.analyze ?? [])
    }

    /// The stage at a step; all traffic after the last.
    func stage(_ step: Int) -> Stage { stages.indices.contains(step) ? stages[step] : .all }

    /// Whether the rollout shows the revision on trial under a path of its own.
    var hasPreview: Bool { strategy == .blue_green && !stages.isEmpty }

    // MARK: - What holds at a step

    private func reached(_ step: Int) -> ArraySlice<RolloutStepSpec> {
        // After the last step nothing of it holds any more: all copies, all traffic.
        step < steps.count ? steps.prefix(step + 1) : []
    }

    /// Copies that a scale step asks for; nil: as many as the share asks for.
    func scaled(at step: Int, of replicas: Int) -> Int? {
        guard let scale = reached(step).compactMap(\.scale).last, scale.match_traffic == nil else { return nil }
        return scale.replicas ?? scale.weight.map { ($0 * replicas + 99) / 100 }
    }

    /// Routes to the revision on trial, the newest first.
    func routes(at step: Int) -> [RouteStepSpec] {
        var routes: [RouteStepSpec] = []
        for route in reached(step).compactMap(\.route) {
            routes.removeAll { $0.name == route.name }
            if !route.header.isEmpty || !route.cookie.isEmpty { routes.insert(route, at: 0) }
        }
        return routes
    }

    /// Share of the requests that is copied to the revision on trial, in percent.
    func mirrored(at step: Int) -> Int {
        var percent = 0
        for (index, spec) in reached(step).enumerated() {
            guard let mirror = spec.mirror else { continue }
            percent = mirror.for == nil || index == step ? mirror.percent : 0
        }
        return percent
    }

    /// Copies that blue_green needs before it switches.
    func previewReplicas(of replicas: Int) -> Int { min(replicas, previewReplicas ?? replicas) }

    // MARK: - Judgements and words

    /// How many judgements may abort the rollout: alpha is split over them (Bonferroni).
    static func gates(_ settings: RolloutSpec) -> Int {
        var names = settings.background
        switch settings.strategy {
        case .canary: names += settings.steps.flatMap { ($0.analyze ?? []) + ($0.experiment?.analyze ?? []) }
        case .blue_green: names += settings.before_promotion + settings.after_promotion
        case .rolling, .recreate, .a_b_testing: break
        }
        return max(1, names.count { settings.analysis[$0]?.dry_run != true })
    }

    /// The step in words.
    func words(_ step: Int) -> String {
        if steps.indices.contains(step), steps[step].pause == nil { return steps[step].words }
        return Self.words(stage(step))
    }

    static func words(_ stage: Stage) -> String {
        switch stage {
        case .weight(let weight): "\(weight) % of the traffic"
        case .pause(let duration?): "a pause of \(TimeSpan(seconds: duration / .seconds(1)))"
        case .pause(nil): "a pause until somebody promotes"
        case .analyze(let names): "the judgement of \(names.joined(separator: ", "))"
        case .scale: "the copies that are wanted"
        case .route: "a route for some requests"
        case .mirror: "a mirror of some requests"
        case .experiment(let spec): "an experiment of \(spec.for)"
        case .preview: "the preview"
        case .all: "all traffic"
        }
    }
}
