/// What a route remembers over a swap of the table: levels and turns that are not part of the wanted state.
final class RouteMemory: Sendable {
    struct Key: Hashable {
        var service: String
        var prefix: String?
        var hosts: [String]
    }

    let slots: SlotSequence
    let budget: RetryBudget
    let mirrorTurns: WeightSchedule?
    let limiters: [RateLimiter]
    private let retries: RetryPolicy?
    private let mirrorPercent: Double?

    init(_ route: Route, previous: RouteMemory?) {
        slots = previous?.slots ?? SlotSequence()
        retries = route.retries
        budget = previous.flatMap { $0.retries == route.retries ? $0.budget : nil } ?? RetryBudget(route.retries)
        mirrorPercent = route.mirror?.percent
        if let previous, previous.mirrorPercent == mirrorPercent {
            mirrorTurns = previous.mirrorTurns
        } else {
            let parts = Int((min(max(mirrorPercent ?? 0, 0), 100) * 100).rounded())
            mirrorTurns = parts > 0 ? WeightSchedule(weights: [parts, 10_000 - parts]) : nil
        }
        var kept = previous?.limiters ?? []
        limiters = (route.rate_limits ?? []).compactMap { limit in
            guard let index = kept.firstIndex(where: { $0.limit == limit }) else { return RateLimiter(limit) }
            return kept.remove(at: index)
        }
    }
}

extension RouteMemory.Key {
    init(_ route: Route) {
        self.init(service: route.service, prefix: route.path_prefix, hosts: route.hosts)
    }
}
