import API
import Kernel
import Manifests
import TSDB

/// What Prometheus tells of itself, told of this house.
struct PrometheusStatus: Sendable {
    let house: TelemetryHouse

    var build: ForeignAnswer {
        JSONOut.success { out in
            out.raw("{\"version\":")
            out.text(PrometheusMount.version)
            out.raw(",\"revision\":\"vagus\",\"branch\":\"\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}")
        }
    }

    var runtime: ForeignAnswer {
        JSONOut.success { out in
            out.raw("{\"startTime\":")
            out.text(house.started.description)
            out.raw(",\"CWD\":\"\",\"reloadConfigSuccess\":true,\"lastConfigTime\":")
            out.text(house.started.description)
            out.raw(",\"corruptionCount\":")
            out.integer(Int64(house.metrics.dropped.count))
            out.raw(",\"goroutineCount\":0,\"GOMAXPROCS\":0,\"GOMEMLIMIT\":0,\"GOGC\":\"\",\"GODEBUG\":\"\"")
            out.raw(",\"storageRetention\":")
            out.text(house.plan.metrics.keep.description)
            out.raw("}")
        }
    }

    var flags: ForeignAnswer {
        let plan = house.plan
        let all: [(String, String)] = [
            ("enable-feature", "native-histograms,promql-experimental-functions,promql-delayed-name-removal"),
            ("query.lookback-delta", "5m"), ("query.max-samples", "50000000"), ("query.timeout", "2m"),
            ("storage.tsdb.retention.size", plan.metrics.storage.max_size?.description ?? "0B"),
            ("storage.tsdb.retention.time", plan.metrics.keep.description),
            ("web.enable-admin-api", "true"), ("web.enable-remote-write-receiver", "true"),
        ]
        return JSONOut.success { out in
            out.raw("{")
            for (index, flag) in all.enumerated() {
                out.comma(index)
                out.text(flag.0)
                out.raw(":")
                out.text(flag.1)
            }
            out.raw("}")
        }
    }

    func store(_ form: Form) async throws -> ForeignAnswer {
        let limit = try PrometheusQueries.limit(form)
        return try await house.readers.run {
            let told = try house.metrics.use { $0.statistics(top: limit > 0 ? min(limit, 10_000) : 10) }
            return JSONOut.success { out in
                out.raw("{\"headStats\":{\"numSeries\":\(told.headSeries),\"numLabelPairs\":\(told.labelPairs)")
                out.raw(",\"chunkCount\":\(told.headChunks),\"minTime\":\(told.headFrom ?? 0)")
                out.raw(",\"maxTime\":\(told.headTo ?? 0)}")
                out.counts("seriesCountByMetricName", told.seriesByMetric)
                out.counts("labelValueCountByLabelName", told.valuesByLabel)
                out.counts("memoryInBytesByLabelName", told.bytesByLabel)
                out.counts("seriesCountByLabelValuePair", told.seriesByPair)
                out.raw("}")
            }
        }
    }

    func targets(_ form: Form) -> ForeignAnswer {
        let (state, pool) = (form["state"] ?? "any", form["scrapePool"])
        let all = state == "dropped" ? [] : house.targets.all.filter { pool == nil || $0.told.job == pool }
        return JSONOut.success { out in
            out.raw("{\"activeTargets\":[")
            for (index, target) in all.enumerated() {
                out.comma(index)
                out.target(target)
            }
            out.raw("],\"droppedTargets\":[]}")
        }
    }

    func rules(_ form: Form) -> ForeignAnswer {
        let wantsRecords = form["type"] == nil || form["type"] == "record"
        let groups = wantsRecords ? house.ruleBook.groups : []
        return JSONOut.success { out in
            out.raw("{\"groups\":[")
            for (index, group) in groups.enumerated() {
                out.comma(index)
                out.group(group)
            }
            out.raw("]}")
        }
    }
}

extension JSONOut {
    fileprivate mutating func counts(_ name: String, _ list: [TSDBStatistics.Count]) {
        raw(",\"\(name)\":[")
        for (index, entry) in list.enumerated() {
            comma(index)
            raw("{\"name\":")
            text(entry.name)
            raw(",\"value\":\(entry.count)}")
        }
        raw("]")
    }

    fileprivate mutating func target(_ target: TargetBook.Entry) {
        func map(_ pairs: Ordered<String>) {
            raw("{")
            for (index, pair) in pairs.enumerated() {
                comma(index)
                text(pair.key)
                raw(":")
                text(pair.value)
            }
            raw("}")
        }
        raw("{\"discoveredLabels\":")
        map(target.discovered)
        raw(",\"labels\":")
        map(target.told.labels)
        for (name, value) in [
            ("scrapePool", target.told.job), ("scrapeUrl", target.told.url), ("globalUrl", target.told.url),
            ("lastError", target.told.error ?? ""), ("lastScrape", (target.told.last_at ?? .zero).description),
            ("health", target.told.health.rawValue), ("scrapeInterval", target.interval.description),
            ("scrapeTimeout", target.timeout.description),
        ] {
            raw(",\"\(name)\":")
            text(value)
        }
        raw(",\"lastScrapeDuration\":\(target.told.last_seconds ?? 0)}")
    }

    fileprivate mutating func group(_ group: RuleBook.Group) {
        raw("{\"name\":")
        text(group.name)
        raw(",\"file\":")
        text(group.file)
        raw(",\"interval\":\(group.every.seconds),\"limit\":\(group.limit),\"rules\":[")
        for (index, rule) in group.rules.enumerated() {
            comma(index)
            raw("{\"type\":\"recording\",\"name\":")
            text(rule.name)
            raw(",\"query\":")
            text(rule.query)
            raw(",\"health\":\"\(rule.last_at == nil ? "unknown" : rule.error == nil ? "ok" : "err")\"")
            if let error = rule.error {
                raw(",\"lastError\":")
                text(error)
            }
            raw(",\"evaluationTime\":\(rule.last_seconds ?? 0),\"lastEvaluation\":")
            text((rule.last_at ?? .zero).description)
            raw("}")
        }
        let last = group.rules.compactMap(\.last_at).max() ?? .zero
        raw("],\"evaluationTime\":\(group.rules.compactMap(\.last_seconds).reduce(0, +)),\"lastEvaluation\":")
        text(last.description)
        raw("}")
    }
}
