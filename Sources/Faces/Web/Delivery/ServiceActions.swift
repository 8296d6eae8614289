import API

/// What a person may do about a service, each told with its consequences in the state it is in now.
enum ServiceActions {
    static func all(_ service: ServiceStatus, _ spec: ServiceSpec?, csrf: String) -> [Action] {
        let isUnderWay =
            service.preview_revision != nil && service.preview_revision != service.stable_revision && !service.aborted
        if isUnderWay {
            let hold = service.held ? resume(service, csrf) : pause(service, csrf)
            return [promote(service, spec, csrf), full(service, csrf), hold, abort(service, csrf)]
        }
        let earlier = service.revisions.filter { $0.revision != service.stable_revision }
        let back = service.stable_revision.map { $0 > 1 || !earlier.isEmpty } == true ? [undo(service, csrf)] : []
        return service.aborted ? [retry(service, spec, csrf)] + back : back
    }

    private static func target(_ service: ServiceStatus, _ verb: String) -> String {
        "/ui/services/\(Links.encoded(service.service))/\(verb)"
    }

    private static func names(_ service: ServiceStatus) -> (fresh: String, stable: String) {
        (
            service.preview_revision.map { "revision \($0)" } ?? "the new revision",
            service.stable_revision.map { "revision \($0)" } ?? "the stable revision"
        )
    }

    private static func promote(_ service: ServiceStatus, _ spec: ServiceSpec?, _ csrf: String) -> Action {
        let (fresh, _) = names(service)
        let share = service.revisions.first { $0.revision == service.preview_revision }?.weight ?? 0
        let isLast = service.step.map { $0 + 1 >= service.steps } ?? false
        return Action(
            id: "act-promote", label: "Promote", icon: "promote", look: "primary", isDanger: false,
            target: target(service, "promote"),
            question: "Go on to the next step?",
            consequences: [
                service.step_name.map { "Ends the step under way: \($0)." } ?? "Ends the step under way.",
                isLast
                    ? "It is the last one: \(fresh) gets all traffic."
                    : "The next step decides the share of \(fresh), which has \(share) % now.",
                "Analyses that run in the background go on and may still abort.",
                RolloutForecast.words(spec?.rollout, from: (service.step ?? 0) + 1),
            ].compactMap { $0 }, confirm: "Promote", csrf: csrf)
    }

    private static func pause(_ service: ServiceStatus, _ csrf: String) -> Action {
        let (fresh, _) = names(service)
        let share = service.revisions.first { $0.revision == service.preview_revision }?.weight ?? 0
        return Action(
            id: "act-pause", label: "Pause", icon: "paused", look: "", isDanger: false,
            target: target(service, "pause"), question: "Hold the rollout where it is?",
            consequences: [
                "\(fresh.prefix(1).uppercased())\(fresh.dropFirst()) keeps its \(share) % of the traffic.",
                "No time runs out and no step is done until somebody lets it go on.",
                "A judgement that fails still aborts it.",
            ], confirm: "Hold it", csrf: csrf)
    }

    private static func resume(_ service: ServiceStatus, _ csrf: String) -> Action {
        Action(
            id: "act-resume", label: "Resume", icon: "promote", look: "", isDanger: false,
            target: target(service, "resume"), question: "Let the rollout go on?",
            consequences: ["It goes on with the step that it was held in."], confirm: "Go on", csrf: csrf)
    }

    private static func retry(_ service: ServiceStatus, _ spec: ServiceSpec?, _ csrf: String) -> Action {
        Action(
            id: "act-retry", label: "Retry", icon: "again", look: "", isDanger: false,
            target: target(service, "retry"), question: "Roll out the aborted revision once more?",
            consequences: [
                "It begins with the first step; what was judged before is judged anew.",
                "It was aborted: \(service.message)",
                RolloutForecast.words(spec?.rollout, from: 0),
            ].compactMap { $0 }, confirm: "Roll it out again", csrf: csrf)
    }

    private static func full(_ service: ServiceStatus, _ csrf: String) -> Action {
        let (fresh, stable) = names(service)
        return Action(
            id: "act-full", label: "Promote fully", icon: "promote", look: "", isDanger: false,
            target: target(service, "promote-full"),
            question: "Give \(fresh) all traffic now?",
            consequences: [
                "Skips every step that is left, and the analyses in them.",
                "It becomes the stable revision; \(stable) is stopped a little later.",
            ], confirm: "Give it all traffic", csrf: csrf)
    }

    private static func abort(_ service: ServiceStatus, _ csrf: String) -> Action {
        let (fresh, stable) = names(service)
        return Action(
            id: "act-abort", label: "Abort", icon: "abort", look: "danger", isDanger: true,
            target: target(service, "abort"),
            question: "Take \(fresh) out of traffic?",
            consequences: [
                "All traffic goes to \(stable) at once.",
                "The run that deploys it fails, and the deployment counts as a failed change.",
            ], confirm: "Abort the rollout", csrf: csrf)
    }

    private static func undo(_ service: ServiceStatus, _ csrf: String) -> Action {
        Action(
            id: "act-undo", label: "Undo", icon: "undo", look: "danger", isDanger: true,
            target: target(service, "undo"),
            question: "Go back to the revision before \(service.stable_revision.map { "r\($0)" } ?? "this one")?",
            consequences: [
                "Its copies are started, and get all traffic as soon as they are well.",
                "No step and no analysis stands between.",
                "The change that is undone counts as failed.",
            ], confirm: "Go back", csrf: csrf)
    }
}
