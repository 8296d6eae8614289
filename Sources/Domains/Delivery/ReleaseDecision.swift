import API
import Kernel
import Manifests

/// All that is seen of one release at one moment.
struct ReleaseView: Sendable, Equatable {
    var phase = ReleaseRow.Phase.rollingOut
    /// Services with a rollout in it, and those whose new workload has no revision yet.
    var members: [ReleaseMember] = []
}

/// What a release needs next.
///
/// Pure: the same view gives the same answer.
enum ReleaseDecision: Sendable, Equatable {
    /// All are ready: they may take all traffic.
    case open
    /// All have it.
    case finish
    /// Every member goes back to where it was.
    case takeBack(reason: String)

    static func decide(_ view: ReleaseView) -> ReleaseDecision? {
        guard view.phase == .rollingOut || view.phase == .promoting else { return nil }
        if let failed = view.members.first(where: { $0.state == .failed }) {
            return .takeBack(reason: "\(failed.service): \(failed.reason ?? "it failed")")
        }
        // What something newer has replaced is that one's business.
        let members = view.members.filter { $0.state != .superseded }
        let isOut = members.allSatisfy { $0.state == .promoted }
        if isOut { return .finish }
        guard view.phase == .rollingOut, members.allSatisfy({ $0.state == .ready || $0.state == .promoted }) else {
            return nil
        }
        return .open
    }

    /// How it is, in one sentence.
    static func words(_ view: ReleaseView, _ row: ReleaseRow) -> String {
        func names(_ states: Set<ReleaseMember.State>) -> String {
            view.members.filter { states.contains($0.state) }.map(\.service).joined(separator: ", ")
        }
        switch row.phase {
        case .rollingOut:
            let ready = names([.ready, .promoted])
            let waits = "Release \(row.number) waits for \(names([.going, .pending]))"
            return ready.isEmpty ? "\(waits)." : "\(waits); \(ready) is ready."
        case .promoting: return "Release \(row.number) takes all traffic: all were ready."
        case .released: return "Release \(row.number) is out: \(names([.promoted]))."
        case .takenBack: return "Release \(row.number) was taken back: \(row.reason ?? "no reason was given")."
        case .dissolved: return "Release \(row.number) holds nobody any more: its group was deleted."
        }
    }
}
