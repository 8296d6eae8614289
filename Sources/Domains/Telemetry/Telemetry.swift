// The eyes of the house: metrics, log lines and traces, taken in and asked for in the field's own protocols.
//
// What comes in: samples (remote write, scrapes, OTLP, pushes as text, rules), lines (Loki's push, OTLP, the house's own events, what
// copies of services print),
// spans (OTLP, the house's own runs and rollouts). What goes out: answers to PromQL, LogQL and searches of traces; remote read;
// samples and lines sent on to others; the port MetricSource.
//
//   doors (mounts)                          intake                 stores (Base)
//   /prometheus  write, read, query         MetricIntake  ──────▶  TSDB      ◀── PromQL
//   /otlp        metrics, logs, traces      LogIntake     ──────▶  LogStore  ◀── LogQL
//   /loki        push, query, tail          SpanIntake    ──────▶  SpanStore
//   /jaeger      search                        │
//   /metrics     own figures                   └──▶ RemoteQueue, LogExports ──▶ others
//   /api/v1/metrics/push                    ScrapeLoop, RuleLoop, EventLoop feed the same intakes
//
// The stores block, so they are only used on threads of their own: `WorkPool`s with a short queue before them, which answer 429
// when it is full. Nothing waits without a bound. What was acknowledged is in the store's log on disk.
//
// `TelemetryPlan` (pure) is what all Telemetry manifests ask for together; PlanLoop brings it into force. The store of samples is
// opened anew when its settings change (`MetricStore`). Folders: `telemetry/` in the data folder: metrics, logs, traces,
// snapshots, export (files of lines), targets (files of targets), settings.json.
//
// Tables owned: none; the EventLoop's place is a row of the kernel's `follower`. Events told: none. Loops: telemetry-plan, -scrape,
// -rules, -events, -upkeep, -remote, -requests, -copies (its places are files: telemetry/copies).
//
// Files: Prometheus, Loki, Jaeger, OTLP (a mount each), Intake, Scrape, Rules, Remote, Own (what vagus tells of itself), Dashboards,
// Operations (our own API).
import API
package import Kernel
import LogQL
import Manifests
package import Outbound
import PromQL
import SQL
import Series

/// The bounds of this room.
package enum TelemetryLimits {
    /// Bytes of a remote write, packed or not.
    package static let writeBytes = 32 << 20
    /// Samples of a remote read.
    package static let readSamples = 20_000_000
    /// Requests that may wait for a thread.
    package static let waitingWrites = 256
    package static let waitingReads = 128
    /// Streams of log lines.
    package static let streams = 50_000
    /// Lines and traces of one answer.
    package static let lines = 5_000
    package static let traces = 1_500
    /// Rules of all manifests together.
    package static let rules = 10_000
    /// Milliseconds: the first and last moment that is asked for when a request names none.
    static let firstMoment: Int64 = -(1 << 53)
    static let lastMoment: Int64 = 1 << 53
}

/// What this room is handed.
package struct TelemetrySettings: Sendable {
    /// Its folder; made if it is not there.
    package var folder: String
    package var version: String
    /// The way to targets and to other stores: addresses that operators write, so private ones, too.
    package var outbound: OutboundClient
    package var platforms: [any Platform]
    /// What copies print, those that ran in clusters among them.
    package var outputs: @Sendable () async throws -> [CopyOutput]
    package var secrets: any SecretSource
    /// Folder where model servers put files of the requests they answered.
    package var requests: String

    package init(
        folder: String, version: String, outbound: OutboundClient, platforms: [any Platform],
        outputs: @escaping @Sendable () async throws -> [CopyOutput], secrets: any SecretSource, requests: String
    ) {
        (self.folder, self.version, self.outbound, self.requests) = (folder, version, outbound, requests)
        (self.platforms, self.outputs, self.secrets) = (platforms, outputs, secrets)
    }
}

/// The room of metrics, log lines, traces and dashboards.
package struct TelemetryDomain: Domain {
    package static let name = "telemetry"
    let house: TelemetryHouse
    private let settings: TelemetrySettings

    /// Opens the stores.
    ///
    /// - Throws: `Problem` when one cannot be opened.
    package init(context: DomainContext, settings: TelemetrySettings) throws {
        self.settings = settings
        house = try TelemetryHouse(context: context, folder: settings.folder)
    }

    /// For rooms that ask about metrics: canaries, monitors, alerts, scaling.
    package var metrics: any MetricSource {
        MetricAnswers(house: house, outbound: settings.outbound, secrets: settings.secrets)
    }

    package func routes(_ routes: inout Routes) {
        MetricRoutes(house: house, metrics: metrics).add(to: &routes)
        LogRoutes(house: house).add(to: &routes)
        TraceRoutes(house: house).add(to: &routes)
        StoreRoutes(house: house).add(to: &routes)
        DashboardRoutes(store: house.context.store).add(to: &routes)
        let proxies = house.proxies
        routes.hear(Proxies.report) { proxies.take($0) }
        let intake = RequestIntake(house: house)
        routes.on(Requests.report) { input, _ in
            let room = input.records.prefix(RequestReport.limit)
            try await intake.take(Array(room), dropped: input.dropped + input.records.count - room.count, from: .proxy)
            return intake.house.plan.requests
        }
    }

    package var mounts: [Mount] {
        [
            PrometheusMount(house: house).mount, OTLPMount(house: house).mount, LokiMount(house: house).mount,
            JaegerMount(house: house).mount, PushMount(house: house).mount, own.mount,
        ]
    }

    private var own: OwnMetrics { OwnMetrics(house: house, version: settings.version) }

    package var loops: [any RunnableLoop] {
        let own = own
        let scraper = Scraper(house: house, outbound: settings.outbound, secrets: settings.secrets) {
            try await own.text()
        }
        return [
            ReconcileLoop(planLoop, store: house.context.store, logger: house.logger),
            ScrapeLoop(
                house: house, discovery: Discovery(house: house, platforms: settings.platforms), scraper: scraper),
            RuleLoop(house: house), EventLoop(house: house), UpkeepLoop(house: house),
            RemoteLoop(house: house, outbound: settings.outbound, secrets: settings.secrets),
            RequestFilesLoop(house: house, folder: settings.requests),
            CopyOutputLoop(house: house, outputs: settings.outputs),
        ]
    }

    var planLoop: PlanLoop { PlanLoop(house: house) }

    /// Refuses what could not be worked out later, and a second word on what there is one of.
    package func admit(_ candidate: Candidate, in change: Change) throws {
        if let spec = candidate.spec(of: TelemetryKind.self) {
            try TelemetryAdmission(spec).check()
            let others = try change.sql.resources(TelemetryKind.self).filter {
                ($0.reference.project, $0.reference.name) != (candidate.project, candidate.name)
            }
            let names = Set(others.flatMap { $0.spec.metrics.remote_write.map(\.name) })
            if let twice = spec.metrics.remote_write.map(\.name).first(where: names.contains) {
                throw Problem(
                    "telemetry.twice", status: 409, "another Telemetry has a remote write \"\(twice)\" already",
                    hint: "Give it another name.", location: "metrics.remote_write")
            }
            for other in others {
                guard let key = spec.onlyOnce.first(where: other.spec.onlyOnce.contains) else { continue }
                throw Problem(
                    "telemetry.twice", status: 409,
                    "\"\(key)\" is set by the Telemetry \"\(other.reference)\" already, and there can be only one",
                    hint: "Set it there, or take it out of there first.", location: key)
            }
        }
        if let spec = candidate.spec(of: SloKind.self) { try TelemetryAdmission.check(spec, candidate.project) }
        if let spec = candidate.spec(of: DashboardKind.self) { try DashboardAdmission(spec).check() }
    }
}
