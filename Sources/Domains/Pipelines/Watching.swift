import API
import Kernel
import Manifests

/// `watch`: looks at a monitor for a while; what is out of bounds then fails the run, or is told.
struct Watching: Sendable {
    let work: ServerStep

    func look() async throws -> StepLook {
        let spec = try WatchSpec(json: work.order.settings, at: [])
        let now = work.context.time.now
        let name = Name(project: work.run.project, name: spec.monitor)
        let report = try await work.context.caller.call(Monitors.report, name, as: work.call)
        let breaches = Self.breaches(in: report)
        guard let since = work.memo["since"]?.string.flatMap(Timestamp.init) else {
            // What was out of bounds before is somebody else's; without a time span the state as it is counts.
            let known = spec.for.seconds > 0 ? breaches : []
            try work.say("watching monitor \(spec.monitor) for \(spec.for)")
            let memo: JSONValue = ["since": now.json, "known": known.json]
            return spec.for.seconds > 0 ? .wait(.zero, memo: memo) : finish(report, breaches, spec)
        }
        let known = work.memo["known"]?.array?.compactMap(\.string) ?? []
        let news = breaches.filter { !known.contains($0) }
        let end = since.advanced(by: spec.for.duration)
        if now >= end || (!news.isEmpty && spec.on_breach == .fail) { return finish(report, news, spec) }
        for breach in news { try work.say("! \(breach)") }
        let wait = min(PipelineLimits.watchInterval, end.since(now))
        let memo: JSONValue = ["since": since.json, "known": (known + news).json, "told": told(news).json]
        return .wait(max(.milliseconds(10), wait), memo: memo)
    }

    private func told(_ news: [String]) -> [String] {
        (work.memo["told"]?.array?.compactMap(\.string) ?? []) + news
    }

    private func finish(_ report: MonitorReport, _ news: [String], _ spec: WatchSpec) -> StepLook {
        let all = told(news)
        let summary: JSONValue = [
            "monitor": .string(spec.monitor), "windows": .integer(Int64(report.windows.count)), "breaches": all.json,
        ]
        if !all.isEmpty, spec.on_breach == .fail {
            return .failed("monitor \"\(spec.monitor)\": \(all.prefix(5).joined(separator: "; "))", report: summary)
        }
        var step = work.step
        step.outputs = ["breaches": .integer(Int64(all.count)), "windows": .integer(Int64(report.windows.count))]
        step.report = summary
        return .done(step)
    }

    /// "2018: auc 0.71 is below 0.75", a line for each breach of each window.
    static func breaches(in report: MonitorReport) -> [String] {
        report.windows.flatMap { window in window.breaches.map { "\(window.window): \($0)" } }
    }
}
