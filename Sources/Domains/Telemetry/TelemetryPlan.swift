import API
import Manifests
import PromQL
import Series
import TSDB

/// What all Telemetry manifests of the house ask for together.
struct TelemetryPlan: Sendable, Equatable {
    /// A part of a manifest, with the project whose secrets it may use.
    struct Owned<Part: Sendable & Equatable>: Sendable, Equatable {
        var project: String
        var part: Part
    }

    var levels: Set<LogLevelWord>?
    var formats = Set(LogFormat.allCases)
    var logRetention = TimeSpan.days(30)
    var keepsLogs = true
    var destinations: [Owned<LogDestination>] = []
    var aggregations: [Owned<LogAggregation>] = []
    var types: Set<MetricType>?
    var interval = TimeSpan.seconds(15)
    var metrics = MetricPlan()
    var groups: [Owned<RuleGroupSpec>] = []
    var scrapes: [Owned<ScrapeSpec>] = []
    var remotes: [Owned<RemoteWriteSpec>] = []
    var source: Owned<MetricSourceSpec>?
    var spanRetention = TimeSpan.days(14)
    var sampling = 1.0
    var hasSpanMetrics = true
    var requests = RequestChoice()

    init() {}

    /// - Parameter manifests: Sorted by project and name: of two that set what there is one of, the first counts.
    init(_ manifests: [(project: String, name: String, spec: TelemetrySpec)]) {
        var isStoreNamed = false
        var areDestinationsNamed = false
        for (project, name, spec) in manifests.reversed() {
            let (logging, metrics, tracing) = (spec.logging, spec.metrics, spec.tracing)
            if let levels = logging.levels { self.levels = Set(levels) }
            if let formats = logging.formats { self.formats = Set(formats) }
            if let keep = logging.retention { logRetention = keep }
            areDestinationsNamed = areDestinationsNamed || !logging.destinations.isEmpty
            isStoreNamed = isStoreNamed || logging.destinations.contains { $0.store == true }
            destinations += logging.destinations.filter { $0.store == nil }.map { Owned(project: project, part: $0) }
            aggregations += logging.aggregation.map { Owned(project: project, part: $0) }
            if let types = metrics.types { self.types = Set(types) }
            if let interval = metrics.interval { self.interval = interval }
            self.metrics.take(metrics)
            groups += Self.groups(metrics.aggregation, name).map { Owned(project: project, part: $0) }
            scrapes += metrics.scrape.map { Owned(project: project, part: $0) }
            remotes += metrics.remote_write.map { Owned(project: project, part: $0) }
            if let source = metrics.source { self.source = Owned(project: project, part: source) }
            if let keep = tracing.retention { spanRetention = keep }
            if let share = tracing.sampling { sampling = share.fraction }
            if !tracing.span_metrics { hasSpanMetrics = false }
            if let wanted = tracing.requests { (requests.ratio, requests.slow) = (wanted.ratio.fraction, wanted.slow) }
        }
        keepsLogs = !areDestinationsNamed || isStoreNamed
    }

    /// Groups written in place and those of rule files.
    static func groups(_ spec: MetricAggregationSpec, _ name: String) -> [RuleGroupSpec] {
        spec.groups + spec.rule_files.flatMap { (try? RuleFile($0))?.groups ?? [] }  // read when it was applied
    }
}

/// Settings of the store of samples.
struct MetricPlan: Sendable, Equatable {
    var keep = TimeSpan.days(15)
    var by: [SelectorRetention] = []
    var storage = MetricStorageSpec()
    var downsample = DownsampleSpec()

    mutating func take(_ spec: MetricsSpec) {
        if let retention = spec.retention { (keep, by) = (retention.keep, retention.by) }
        if let storage = spec.storage { self.storage = storage }
        if let downsample = spec.aggregation.downsample { self.downsample = downsample }
    }

    /// As the store takes them.
    var options: TSDBOptions {
        var options = TSDBOptions()
        options.durability = storage.sync ? .synced : .written
        options.outOfOrderWindow = storage.out_of_order.milliseconds
        options.retention = keep.milliseconds
        options.retentionRules = by.compactMap { rule in
            guard let matchers = try? parseSelector(rule.match) else { return nil }  // checked when it was applied
            return .init(matchers, rule.keep.milliseconds)
        }
        options.retentionBytes = Int(storage.max_size?.bytes ?? 0)
        options.seriesAtMost = storage.max_series
        options.exemplarsAtMost = storage.exemplars
        options.downsampleAfter = downsample.enabled ? downsample.after.milliseconds : nil
        options.retentionOfFiveMinutes = downsample.keep_5m.milliseconds
        options.retentionOfHours = downsample.keep_1h.milliseconds
        return options
    }

    // MARK: Kept beside the store, which is opened before the database can be asked

    var json: JSONValue {
        var retention = MetricRetentionSpec()
        (retention.keep, retention.by) = (keep, by)
        return ["retention": retention.json, "storage": storage.json, "downsample": downsample.json]
    }

    init() {}

    init(json: JSONValue) throws(ManifestError) {
        if let value = json["retention"] {
            let retention = try MetricRetentionSpec(json: value, at: ["retention"])
            (keep, by) = (retention.keep, retention.by)
        }
        if let value = json["storage"] { storage = try MetricStorageSpec(json: value, at: ["storage"]) }
        if let value = json["downsample"] { downsample = try DownsampleSpec(json: value, at: ["downsample"]) }
    }
}
