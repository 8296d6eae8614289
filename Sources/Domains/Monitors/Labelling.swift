import API
import Kernel
import Manifests
import SQL

/// How the truth finds its prediction.
enum Labelling {
    /// Labels of one service that may wait for their prediction.
    static let waitingLimit = 1_000_000
    /// Characters of a prediction id.
    static let idLimit = 256
    /// Ids that one query asks for.
    static let idsAQuery = 500

    /// The labels of a request by id; of several for one id the last.
    static func checked(_ input: LabelsInput) throws(Problem) -> [String: Double] {
        guard input.labels.count <= LabelsInput.limit else {
            throw Problem(
                "labels.too-many", status: 413, "\(input.labels.count) labels in one request",
                hint: "Send at most \(LabelsInput.limit) at once.")
        }
        var labels: [String: Double] = [:]
        for (index, item) in input.labels.enumerated() {
            guard isID(item.id) else {
                throw Problem(
                    "labels.id", status: 422, "a prediction id has 1 to \(idLimit) characters",
                    hint: "Give the id that the prediction was asked with or answered.",
                    location: "labels.\(index).id")
            }
            guard item.label.isFinite else {
                throw Problem(
                    "labels.value", status: 422, "the label of \"\(item.id)\" is no number",
                    hint: "Send 0 or 1, or a number.", location: "labels.\(index).label")
            }
            labels[item.id] = item.label
        }
        return labels
    }

    static func isID(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= idLimit && !text.utf8.contains(0)
    }

    /// Joins labels to the predictions that are known; the others wait.
    static func keep(
        _ labels: [String: Double], of service: Reference<ServiceKind>, in change: Change
    ) throws -> LabelsOutcome {
        let ids = labels.keys.sorted()
        var hours = HourChanges()
        var joined = Set<String>()
        for start in stride(from: 0, to: ids.count, by: idsAQuery) {
            let part = ids[start..<min(start + idsAQuery, ids.count)]
            for known in try change.sql.labelled(part, of: service) {
                joined.insert(known.id)
                guard let label = labels[known.id], known.label != label else { continue }
                try change.sql.setLabel(label, of: known.id, service)
                hours.label(at: known.moment, isFirst: known.label == nil)
            }
        }
        let waiting = ids.filter { !joined.contains($0) }
        if !waiting.isEmpty {
            guard try change.sql.waitingLabels(of: service) + waiting.count <= waitingLimit else {
                throw Problem(
                    "labels.waiting", status: 409, "\(waitingLimit) labels wait for predictions that never came",
                    hint: "Check that the ids are those of this service's predictions.")
            }
            for id in waiting { try change.sql.letWait(labels[id] ?? 0, for: id, service) }
        }
        try change.sql.note(hours, of: service, at: change.now)
        try change.tell(
            "service.labelled", about: service.subject,
            ["labels": .integer(Int64(labels.count)), "waiting": .integer(Int64(waiting.count))])
        var outcome = LabelsOutcome()
        outcome.accepted = labels.count
        return outcome
    }
}

/// What one transaction changed, by hour of the event.
struct HourChanges: Sendable {
    struct Counts: Sendable, Equatable {
        var rows = 0
        var labelled = 0
        var labelChanges = 0
    }
    private(set) var hours: [Int64: Counts] = [:]
    static let length: Int64 = 3_600_000_000

    static func hour(of moment: Int64) -> Int64 {
        let rest = moment % length
        return moment - (rest < 0 ? rest + length : rest)
    }

    mutating func row(at moment: Int64, isLabelled: Bool) {
        hours[Self.hour(of: moment), default: Counts()].rows += 1
        if isLabelled { hours[Self.hour(of: moment), default: Counts()].labelled += 1 }
    }

    mutating func label(at moment: Int64, isFirst: Bool) {
        hours[Self.hour(of: moment), default: Counts()].labelChanges += 1
        if isFirst { hours[Self.hour(of: moment), default: Counts()].labelled += 1 }
    }
}
