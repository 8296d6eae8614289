import API
import Foundation
import Kernel
import LogStore
import Series
import SpanStore
import TSDB
import Wire

/// `/metrics`: what this process counts, as Prometheus scrapes it.
struct OwnMetrics: Sendable {
    let house: TelemetryHouse
    let version: String

    var mount: Mount {
        Mount("/metrics", bodyLimit: 1 << 10) { problem, _ in
            ForeignAnswer(problem.status, text: problem.message + "\n")
        } handle: { request, call in
            try call.allowLooking("the metrics of vagus")
            guard request.path.isEmpty, ["GET", "HEAD"].contains(request.method) else {
                throw Problem("path.not-found", status: 404, "nothing is at this path")
            }
            let accept = request.headers["accept"] ?? ""
            return try await house.readers.run {
                var writer = ExpositionWriter(accept: accept)
                write(&writer)
                return ForeignAnswer(type: writer.contentType, .bytes(writer.finish()))
            }
        }
    }

    /// As text, for the own store.
    func text() async throws -> [UInt8] {
        try await house.readers.run {
            var writer = ExpositionWriter(isOpenMetrics: false)
            write(&writer)
            return writer.finish()
        }
    }

    private func write(_ writer: inout ExpositionWriter) {
        writer.begin("vagus_build_info", .gauge, help: "Version of vagus.")
        writer.sample([("version", version)], 1)
        process(&writer)
        instruments(&writer)
        stores(&writer)
        work(&writer)
        proxies(&writer)
        if house.plan.hasSpanMetrics { spans(&writer) }
    }

    // MARK: Parts

    private func process(_ writer: inout ExpositionWriter) {
        let usage = ProcessUsage()
        let figures: [(String, WireMetadata.Kind, String, Double?)] = [
            ("process_cpu_seconds", .counter, "CPU time of the process.", usage.cpu),
            ("process_resident_memory_bytes", .gauge, "Memory that it holds.", usage.resident),
            ("process_virtual_memory_bytes", .gauge, "Memory that it may address.", usage.virtual),
            ("process_open_fds", .gauge, "Open files and sockets.", usage.files),
            ("process_threads", .gauge, "Threads.", usage.threads),
            ("process_start_time_seconds", .gauge, "When it started.", Double(house.started.microseconds) / 1e6),
        ]
        for (name, kind, help, value) in figures {
            guard let value else { continue }
            writer.begin(name, kind, help: help)
            writer.sample([], value)
        }
    }

    private static let helps = [
        "vagus_http_requests_total": "Requests by operation and status.",
        "vagus_http_request_duration_seconds": "Times of requests by operation.",
        "vagus_events_total": "Events by name.",
        "vagus_pipelines_runs_total": "Runs that ended.",
        "vagus_pipelines_run_duration_seconds": "How long runs took.",
        "vagus_pipelines_jobs_total": "Jobs that ended.",
        "vagus_pipelines_steps_total": "Steps that ended.",
        "vagus_delivery_rollout_events_total": "Steps of rollouts.",
        "vagus_requests_recorded_total": "Requests to services that became a span and a line, by who told of them.",
        "vagus_telemetry_samples_total": "Samples taken in.",
        "vagus_telemetry_lines_total": "Log lines taken in.",
        "vagus_telemetry_spans_total": "Spans taken in.",
        "vagus_telemetry_scrapes_total": "Scrapes by result.",
        "vagus_telemetry_rule_evaluations_total": "Rules worked out.",
        "vagus_telemetry_rule_failures_total": "Rules that could not be worked out.",
    ]

    private func instruments(_ writer: inout ExpositionWriter) {
        var begun = ""
        for (key, value) in house.context.instruments.all() {
            let labels = stride(from: 0, to: key.labels.count - 1, by: 2).map { (key.labels[$0], key.labels[$0 + 1]) }
            let help = Self.helps[key.name] ?? ""
            switch value {
            case .counter(let count):
                let family = key.name.hasSuffix("_total") ? String(key.name.dropLast(6)) : key.name
                if begun != key.name { writer.begin(family, .counter, help: help) }
                writer.sample(labels, count)
            case .gauge(let level):
                if begun != key.name { writer.begin(key.name, .gauge, help: help) }
                writer.sample(labels, level)
            case .durations(let counts, let sum):
                if begun != key.name { writer.begin(key.name, .histogram, help: help) }
                writer.histogram(labels, bounds: Instruments.bounds, counts: counts, sum: sum)
            }
            begun = key.name
        }
    }

    private func stores(_ writer: inout ExpositionWriter) {
        var figures: [(String, String, Int)] = []
        // A store that is being opened anew tells nothing now.
        if let told = house.statistics() {
            figures += [
                ("vagus_telemetry_series", "Series in memory.", told.headSeries),
                ("vagus_telemetry_head_samples", "Samples in memory.", told.headSamples),
                ("vagus_telemetry_blocks", "Blocks on disk.", told.blocks),
                ("vagus_telemetry_block_bytes", "Bytes of blocks.", told.blockBytes),
                ("vagus_telemetry_wal_bytes", "Bytes of the write-ahead log.", told.logBytes),
            ]
        }
        let (logs, spans) = (house.logs.status, house.spans.status)
        figures += [
            ("vagus_telemetry_log_streams", "Streams of lines.", logs.streams),
            ("vagus_telemetry_log_bytes", "Bytes of lines on disk.", logs.segmentBytes + logs.logBytes),
            ("vagus_telemetry_stored_spans", "Spans in the store.", spans.spans),
            ("vagus_telemetry_span_bytes", "Bytes of spans on disk.", spans.segmentBytes),
        ]
        for (name, help, value) in figures {
            writer.begin(name, .gauge, help: help)
            writer.sample([], Double(value))
        }
        let drops = house.drops.all
        if !drops.isEmpty {
            writer.begin("vagus_telemetry_dropped", .counter, help: "What was refused or dropped, by reason.")
            for (reason, count) in drops { writer.sample([("reason", reason)], Double(count)) }
        }
    }

    private func work(_ writer: inout ExpositionWriter) {
        let pools = [("keep", house.keepers.load), ("read", house.readers.load), ("write", house.writers.load)]
        writer.begin("vagus_telemetry_work_running", .gauge, help: "Requests being worked on.")
        for (name, load) in pools { writer.sample([("pool", name)], Double(load.running)) }
        writer.begin("vagus_telemetry_work_waiting", .gauge, help: "Requests that wait for a thread.")
        for (name, load) in pools { writer.sample([("pool", name)], Double(load.waiting)) }
        writer.begin("vagus_telemetry_work_refused", .counter, help: "Requests turned away with 429.")
        for (name, load) in pools { writer.sample([("pool", name)], Double(load.refused)) }
        let remotes = house.remotes.all.map(\.status) + house.exports.queues.map(\.status)
        guard !remotes.isEmpty else { return }
        writer.begin("vagus_telemetry_remote_waiting", .gauge, help: "Samples or lines that wait to be sent on.")
        for remote in remotes { writer.sample([("name", remote.name)], Double(remote.waiting)) }
        writer.begin("vagus_telemetry_remote_sent", .counter, help: "Samples or lines sent on.")
        for remote in remotes { writer.sample([("name", remote.name)], Double(remote.sent)) }
    }

    private func proxies(_ writer: inout ExpositionWriter) {
        let lines = house.proxies.lines
        guard !lines.isEmpty else { return }
        writer.begin("vagus_proxy_requests", .counter, help: "Requests through the proxy, by revision of a service.")
        for line in lines { writer.sample(line.labels, Double(line.count.requests)) }
        writer.begin("vagus_proxy_errors", .counter, help: "Of them answered with 5xx, or not at all.")
        for line in lines { writer.sample(line.labels, Double(line.count.errors)) }
        writer.begin("vagus_proxy_request_duration_seconds", .histogram, help: "Times of answers through the proxy.")
        // Of a revision that nobody has asked yet the counts alone: of thousands at rest, a dozen lines each would be many.
        for line in lines where line.count.requests > 0 {
            writer.histogram(line.labels, bounds: ProxyReports.bounds, counts: line.buckets, sum: line.seconds)
        }
    }

    /// Calls, errors and durations of spans: counters of the store, shown family by family.
    private func spans(_ writer: inout ExpositionWriter) {
        let figures = house.spans.figures()
        guard !figures.isEmpty else { return }
        let families: [(String, WireMetadata.Kind, [String])] = [
            ("traces_span_metrics_calls", .counter, ["traces_span_metrics_calls_total"]),
            (
                "traces_span_metrics_duration_milliseconds", .unknown,
                ["_bucket", "_sum", "_count"].map { "traces_span_metrics_duration_milliseconds\($0)" }
            ),
        ]
        for (family, kind, names) in families {
            for name in kind == .counter ? [family] : names {
                writer.begin(name, kind, help: "Spans by service and name, as OpenTelemetry's span metrics have them.")
                let wanted = kind == .counter ? names[0] : name
                for figure in figures where figure.labels.metricName == wanted {
                    let labels = figure.labels.pairs.filter { $0.name != "__name__" }.map { ($0.name, $0.value) }
                    writer.sample(labels, figure.value)
                }
            }
        }
    }
}

/// What the kernel says of this process; nil what it does not say.
struct ProcessUsage {
    var cpu: Double?
    var resident: Double?
    var virtual: Double?
    var files: Double?
    var threads: Double?

    init() {
        files = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")).map { Double($0.count) }  // not told then
        guard let data = FileManager.default.contents(atPath: "/proc/self/stat") else { return }
        // The name in brackets may hold anything.
        let text = String(decoding: data, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return }
        let fields = text[text.index(after: end)...].split(separator: " ").map(String.init)
        guard fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]) else { return }
        cpu = (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
        threads = Double(fields[17])
        virtual = Double(fields[20])
        resident = Double(fields[21]).map { $0 * Double(sysconf(Int32(_SC_PAGESIZE))) }
    }
}
