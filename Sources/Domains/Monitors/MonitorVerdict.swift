import API

/// What is told of a monitor as a whole.
struct MonitorVerdict: Sendable, Equatable {
    var status: MonitorStatus
    var conditions: [Condition]

    /// Sums a monitor up from the window that speaks for it, and from why there is no reference, if there is none.
    init(_ sums: ServiceSums, windows: Int, newest: WindowReport?, trouble: String?) {
        status = MonitorStatus()
        status.windows = windows
        (status.predictions, status.labelled) = (sums.predictions, sums.labelled)
        status.breaches = newest?.breaches ?? []
        conditions = [Self.healthy(newest, trouble)]
        if sums.garbage > 0 {
            let lines = sums.garbage == 1 ? "1 line" : "\(sums.garbage) lines"
            conditions.append(
                Condition(
                    "Readable", .no, reason: "GarbageLines",
                    message: "\(lines) of the prediction log could not be read and were skipped."))
        }
    }

    /// The newest window that is over and has enough rows, else the newest that has enough, else the newest.
    static func speaker(_ windows: [KnownWindow], now: Timestamp) -> Timestamp? {
        let told = windows.filter { $0.state != .insufficient_data }
        return (told.last { $0.window.to <= now } ?? told.last ?? windows.last)?.window.from
    }

    private static func healthy(_ newest: WindowReport?, _ trouble: String?) -> Condition {
        if let trouble { return Condition("Healthy", .unknown, reason: "NoReference", message: trouble) }
        guard let newest else {
            return Condition("Healthy", .unknown, reason: "NoData", message: "No predictions were read yet.")
        }
        switch newest.state {
        case .ok:
            return Condition("Healthy", .yes, reason: "WithinBounds", message: "\(newest.window) is within bounds.")
        case .drift:
            let drifted = newest.features.filter(\.drifted).map(\.feature)
            let what = drifted.isEmpty ? "the score" : drifted.prefix(3).joined(separator: ", ")
            let more = drifted.count > 3 ? " and \(drifted.count - 3) more" : ""
            return Condition(
                "Healthy", .yes, reason: "Drift",
                message: "\(newest.window) drifted in \(what)\(more), and nothing is out of bounds.")
        case .breach:
            return Condition(
                "Healthy", .no, reason: "Breach",
                message: "In \(newest.window) \(newest.breaches.joined(separator: "; ")).")
        case .insufficient_data:
            return Condition(
                "Healthy", .unknown, reason: "InsufficientData",
                message: "\(newest.window) has \(newest.rows) predictions, too few to say anything.")
        }
    }
}
