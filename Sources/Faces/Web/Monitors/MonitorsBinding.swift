import API
import Manifests

extension Visitor {
    /// Monitors whose reports the list looks into.
    static let monitorLimit = 30

    func monitors() async throws -> WebResponse {
        try await render {
            let all = try await resources(MonitorKind.self)
            var reports: [String: MonitorReport] = [:]
            for monitor in all.prefix(Self.monitorLimit) {
                reports[monitor.name] = try await find(Monitors.report, name(monitor.name))
            }
            return MonitorsPage(all, reports: reports)
        }
    }

    func monitor(_ wanted: String) async throws -> WebResponse {
        try await render(title: wanted) {
            async let declared = resource(MonitorKind.self, wanted)
            async let told = find(Monitors.report, name(wanted))
            let spec = try await declared.spec
            var report = try await told ?? MonitorReport()
            if report.monitor.isEmpty {
                (report.monitor, report.model) = (wanted, spec["model"]?.string ?? "")
                report.service = spec["service"]?.string ?? ""
            }
            // A spec of another version of vagus may not read; the charts then have no limits.
            let checks = try? MonitorSpec(json: spec, at: [])  // unreadable: charts without limits
            return MonitorPage(report, spec: checks, now: now)
        }
    }
}
