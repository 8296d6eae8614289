import API
import Kernel
import Logging
import PromQL
import Series
import TSDB

/// Prometheus's HTTP API below `/prometheus`, as Grafana, promtool and other Prometheis call it.
///
/// Reads come as GET or as posted form. What is asked for runs on threads of its own, and is written from the engine's columns.
struct PrometheusMount: Sendable {
    let house: TelemetryHouse

    static let prefix = "/prometheus"
    /// The version of Prometheus whose API and language this is; Grafana chooses by it what it asks.
    static let version = "3.5.0"
    /// Moments of a range query.
    static let stepLimit: Int64 = 11_000

    var mount: Mount {
        Mount(Self.prefix, bodyLimit: TelemetryLimits.writeBytes, open: ["/-/ready", "/-/healthy"]) {
            problem, request in
            if request.path == "/api/v1/write" || request.path == "/api/v1/read" {
                return ForeignAnswer(problem.status, text: problem.message + "\n")
            }
            return PrometheusError(problem).answer
        } handle: { request, call in
            do {
                return try await answer(request, call)
            } catch let error as Problem {
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                let told = PrometheusError(error)
                if told.status == 500 {
                    house.logger.error(
                        "query failed", metadata: ["path": "\(request.path)", "error": "\(error)"])
                }
                return told.answer
            }
        }
    }

    private func answer(_ request: ForeignRequest, _ call: Call) async throws -> ForeignAnswer {
        switch request.path {
        case "/-/ready": return ForeignAnswer(text: "Prometheus Server is Ready.\n")
        case "/-/healthy": return ForeignAnswer(text: "Prometheus Server is Healthy.\n")
        default: break
        }
        guard request.path.hasPrefix("/api/v1/") else { throw Self.notFound(request) }
        let path = String(request.path.dropFirst("/api/v1/".count))
        switch path {
        case "write":
            try call.allowTelling("remote write")
            return try await PrometheusWrite(house: house).write(request)
        case "read":
            try call.allowLooking("remote read")
            return try await PrometheusWrite(house: house).read(request)
        case _ where path.hasPrefix("admin/"):
            try call.allow(.admin, operation: "the administration of metrics")
            try call.allowHouse("the administration of metrics")
            return try await PrometheusAdmin(house: house).answer(String(path.dropFirst(6)), request)
        default:
            try call.allowLooking("a query of metrics")
            guard ["GET", "HEAD", "POST"].contains(request.method) else {
                throw Problem("method.not-allowed", status: 405, "\(request.method) is not answered here")
            }
            return try await look(path, Form(request), request)
        }
    }

    private func look(_ path: String, _ form: Form, _ request: ForeignRequest) async throws -> ForeignAnswer {
        let (queries, lists) = (PrometheusQueries(house: house), PrometheusLists(house: house))
        switch path {
        case "query": return try await queries.instant(form)
        case "query_range": return try await queries.range(form)
        case "query_exemplars": return try await queries.exemplars(form)
        case "format_query": return try await queries.format(form)
        case "parse_query": return try await queries.tree(form)
        case "series": return try await lists.series(form)
        case "labels": return try await lists.labels(form)
        case "metadata": return try await lists.metadata(form)
        case "rules": return PrometheusStatus(house: house).rules(form)
        case "alerts": return JSONOut.success { $0.raw("{\"alerts\":[]}") }
        case "alertmanagers":
            return JSONOut.success { $0.raw("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}") }
        case "targets": return PrometheusStatus(house: house).targets(form)
        case "status/buildinfo": return PrometheusStatus(house: house).build
        case "status/tsdb": return try await PrometheusStatus(house: house).store(form)
        case "status/runtimeinfo": return PrometheusStatus(house: house).runtime
        case "status/flags": return PrometheusStatus(house: house).flags
        default: break
        }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count == 3, parts[0] == "label", parts[2] == "values" {
            return try await lists.values(FormText.decode(parts[1].replacing("+", with: "%2B")), form)
        }
        throw Self.notFound(request)
    }

    static func notFound(_ request: ForeignRequest) -> Problem {
        Problem("path.not-found", status: 404, "nothing is at the path \(prefix)\(request.path)")
    }
}
