import API
package import Kernel
import Manifests
import SQL

extension MonitorsDomain {
    /// Windows that a report tells: the newest of them.
    static let windowLimit = 400

    package func routes(_ routes: inout Routes) {
        let store = store
        routes.on(Monitors.report) { input, _ in
            try await store.read { sql in
                let name = Reference<MonitorKind>(project: input.project, name: input.name)
                guard let monitor = try sql.resource(MonitorKind.self, name) else {
                    throw Problem.notFound("Monitor", input.name, project: input.project, list: "get monitors")
                }
                var report = MonitorReport()
                (report.project, report.monitor) = (name.project, name.name)
                (report.service, report.model) = (monitor.spec.service, monitor.spec.model)
                report.drift_threshold = monitor.spec.checks.drift.threshold
                if let header = try sql.referenceHeader(of: name) {
                    (report.model, report.reference_rows) = (header.model, header.rows)
                    report.reference_metrics = header.metrics
                }
                report.windows = try sql.windowReports(of: name, limit: Self.windowLimit)
                return report
            }
        }
        routes.on(Monitors.label) { input, call in
            let labels = try Labelling.checked(input)
            let service = Reference<ServiceKind>(project: input.project, name: input.name)
            return try await store.change(call) { change in
                guard try change.sql.isKnown(service) else {
                    throw Problem.notFound("Service", input.name, project: input.project, list: "get services")
                }
                return try Labelling.keep(labels, of: service, in: change)
            }
        }
    }
}
