import API
import Kernel
import Manifests

extension Freezes {
    /// The longest span that is written out.
    static let longestSpan = Duration.seconds(400 * 86_400)
    private static let usualSpan = Duration.seconds(28 * 86_400)

    /// Windows of all environments that touch a span, by their beginning.
    static func calendar(
        _ query: CalendarQuery, _ environments: [TypedResource<EnvironmentKind>], now: Timestamp
    ) -> [FreezeWindow] {
        let from = query.from ?? now
        let to = min(query.to ?? from.advanced(by: usualSpan), from.advanced(by: longestSpan))
        let windows = environments.filter { query.environment == nil || $0.reference.name == query.environment }
            .flatMap { environment in
                environment.spec.freeze.flatMap { freeze in
                    spans(of: freeze, from: from, to: to).map { span in
                        var window = FreezeWindow()
                        (window.environment, window.name) = (environment.reference.name, freeze.name)
                        (window.from, window.to, window.allow) = (span.from, span.to, freeze.allow)
                        return window
                    }
                }
            }
        return Array(
            windows.sorted { ($0.from, $0.environment, $0.name) < ($1.from, $1.environment, $1.name) }
                .prefix(CalendarQuery.limit))
    }

    /// The times of one freeze that touch a span; none when it cannot be read, which was refused when it was applied.
    static func spans(
        of freeze: FreezeSpec, from: Timestamp, to: Timestamp
    ) -> [(from: Timestamp, to: Timestamp)] {
        if let begin = freeze.from, let end = freeze.to { return end > from && begin < to ? [(begin, end)] : [] }
        guard let length = freeze.for?.duration, let schedule = try? schedule(of: freeze) else { return [] }  // see above
        var spans: [(from: Timestamp, to: Timestamp)] = []
        var cursor = from.advanced(by: .zero - length)
        while spans.count < CalendarQuery.limit, let begin = schedule.next(after: cursor), begin < to {
            let end = begin.advanced(by: length)
            if end > from { spans.append((begin, end)) }
            cursor = begin
        }
        return spans
    }
}
