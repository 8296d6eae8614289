import API
import Kernel
import Logging
import Manifests
import SQL

/// Takes what the Telemetry manifests ask for, whenever one changes.
struct PlanLoop: Reconciler {
    let house: TelemetryHouse

    static let name = "telemetry-plan"
    static let topics: Set<String> = [TelemetryKind.name]

    func keys() async throws -> [String] { ["plan"] }

    func reconcile(_ key: String) async throws -> Next {
        let manifests = try await house.context.store.read { try $0.resources(TelemetryKind.self) }
        let plan = TelemetryPlan(
            manifests.map { ($0.reference.project, $0.reference.name, $0.spec) }.sorted { ($0.0, $0.1) < ($1.0, $1.1) })
        guard plan != house.plan else { return .settled }
        try await house.keepers.run {
            try house.take(plan)
            house.remotes.keep(plan.remotes)
            house.exports.keep(plan.destinations)
        }
        house.logger.info("telemetry was set up anew", metadata: ["manifests": "\(manifests.count)"])
        return .settled
    }
}
