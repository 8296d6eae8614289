import Series
import Testing

@testable import Wire

@Suite struct OTLPTranslationTests {
    let identity = #"instance="i-1", job="eu/shop""#

    func lines(_ batch: WriteBatch) -> [String] {
        batch.entries.map { entry in
            let samples = entry.samples.map {
                StaleMarker.isStale(batch.values[$0]) ? "stale" : GoFloat.general(batch.values[$0])
            }
            return "\(batch.labels(of: entry)) " + samples.joined(separator: " ")
        }
    }

    func translated(_ metrics: [OTLP.Metric], _ resource: [OTLP.Attribute] = []) -> (
        WriteBatch, OTLPTranslation.Outcome
    ) {
        var (batch, part) = (OTLP.Batch<OTLP.Metric>(), OTLP.Batch<OTLP.Metric>.Part())
        part.items = metrics
        batch.parts = [part]
        batch.resource.attributes = resource
        var out = WriteBatch()
        let outcome = OTLPTranslation().translate([batch], into: &out)
        return (out, outcome)
    }

    @Test func `an export of the Python SDK becomes Prometheus's series`() throws {
        var batch = WriteBatch()
        let outcome = OTLPTranslation().translate(try OTLP.decodeMetrics(OTLPSamples.metrics, .protobuf), into: &batch)
        #expect(outcome == OTLPTranslation.Outcome())
        #expect(
            lines(batch) == [
                #"http_requests_total{a_b="x;y", http_method="GET", \#(identity)} 3"#,
                #"queue_length{\#(identity)} -2"#,
                #"cpu_usage_ratio{\#(identity)} 0.25"#,
                #"wait_seconds_sum{\#(identity), k="v"} 5.25"#,
                #"wait_seconds_count{\#(identity), k="v"} 2"#,
                #"wait_seconds_bucket{\#(identity), k="v", le="0.5"} 1"#,
                #"wait_seconds_bucket{\#(identity), k="v", le="2"} 1"#,
                #"wait_seconds_bucket{\#(identity), k="v", le="+Inf"} 2"#,
                #"size_bytes{\#(identity)} "#,
                #"target_info{host_name="h1", \#(identity)} 1"#,
            ])
        #expect(Set(batch.times) == [1_700_000_060_000])
        // At scale 3: 1, 2, 4 and 1000 lie in the buckets 0, 8, 16 and ceil(8 · log2 1000) = 80.
        let histogram = batch.histograms[0]
        #expect((histogram.schema, histogram.count, histogram.sum, histogram.zeroCount) == (3, 5, 1007, 1))
        #expect(histogram.positiveSpans.map(\.offset) == [0, 7, 7, 63])
        #expect(histogram.positiveBuckets == [1, 1, 1, 1])
        #expect(histogram.contradiction == nil)
        let exemplars = batch.entries.map { Array(batch.exemplars[$0.exemplars]) }
        let trace = Labels(["trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b8"])
        #expect(exemplars[5] == [Exemplar(labels: trace, value: 0.25, time: 1_700_000_000_001)])
        #expect(exemplars[7].map(\.value) == [5])
        #expect(exemplars[8].map(\.value) == [1, 2, 4, 1000])
        #expect(
            batch.metadata.map { "\($0.family) \($0.kind.name) \($0.unit)" } == [
                "http_requests_total counter 1", "queue_length gauge ", "cpu_usage_ratio gauge 1",
                "wait_seconds histogram s", "size_bytes histogram By",
            ])
    }

    @Test(arguments: [
        // prometheus/otlptranslator's documentation and rules.
        ("http.server.duration", "s", false, false, "http_server_duration_seconds"),
        ("requests.count", "1", true, false, "requests_count_total"),
        ("memory.usage", "By", false, true, "memory_usage_bytes"),
        ("system.cpu.time_seconds", "s", true, false, "system_cpu_time_seconds_total"),
        ("total.things", "{thing}", true, false, "things_total"),
        ("speed", "m/s", false, true, "speed_meters_per_second"),
        ("flow", "By/min", false, true, "flow_bytes_per_min"), ("load", "1", false, true, "load_ratio"),
        ("2xx", "", false, true, "_2xx"), ("a__b..c", "", false, true, "a_b_c"),
        ("x", "foo bar", false, true, "x_foo_bar"),
        ("rate", "{req}/s", false, true, "rate_per_second"), ("ünit:x", "%", false, true, "nit:x_percent"),
        ("...", "", false, true, ""),
    ])
    func `metrics are named as Prometheus names them`(
        name: String, unit: String, isCounter: Bool, isGauge: Bool, expected: String
    ) {
        #expect(MetricNames.metric(name, unit: unit, isCounter: isCounter, isGauge: isGauge) == expected)
    }

    @Test(arguments: [
        ("http.method", "http_method"), ("2xx", "key_2xx"), ("_x", "key_x"), ("__x", "__x"), ("a--b", "a__b"),
        ("ä", "key_"),
    ])
    func `labels are named as Prometheus names them`(key: String, expected: String) {
        #expect(MetricNames.label(key) == expected)
    }

    func exponential(scale: Int32, offset: Int32, _ counts: [UInt64]) -> OTLP.ExponentialPoint {
        var point = OTLP.ExponentialPoint()
        point.scale = scale
        point.count = counts.reduce(0, +)
        point.positive.offset = offset
        point.positive.counts = counts
        return point
    }

    @Test func `a scale beyond 8 is brought down by merging neighbours`() {
        // At scale 10 four buckets make one of scale 8: OTLP's buckets -5...6 lie in -2, -1, 0, 1, Prometheus's -1, 0,
        // 1, 2.
        let (found, _) = OTLPTranslation.native(
            exponential(scale: 10, offset: -5, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
        #expect(found?.schema == 8)
        #expect(found?.positiveSpans == [.init(offset: -1, length: 4)])
        #expect(found?.positiveBuckets == [1, 14, 30, 33])
        #expect(found?.count == 78)
        #expect(found?.zeroThreshold == 1e-128)
    }

    @Test func `small gaps are kept and wide ones split the spans`() {
        let (found, _) = OTLPTranslation.native(exponential(scale: 0, offset: 2, [0, 1, 0, 0, 2, 0, 0, 0, 3, 0]))
        #expect(found?.positiveSpans == [.init(offset: 4, length: 4), .init(offset: 3, length: 1)])
        #expect(found?.positiveBuckets == [1, 0, 0, 2, 3])
    }

    @Test func `what no native histogram can hold is refused`() {
        #expect(OTLPTranslation.native(exponential(scale: -5, offset: 0, [1])).histogram == nil)
        #expect(OTLPTranslation.native(exponential(scale: 0, offset: .max, [1])).histogram == nil)
        let many = [UInt64](repeating: 1, count: OTLPTranslation.bucketLimit + 1)
        #expect(OTLPTranslation.native(exponential(scale: 0, offset: 0, many)).histogram == nil)
        #expect(
            OTLPTranslation.native(exponential(scale: .max, offset: .min, [1, 1])).histogram?.positiveBuckets == [2])
    }

    @Test func `delta metrics are counted as rejected and say what to do`() {
        var metric = OTLP.Metric()
        metric.name = "jobs"
        metric.data = .sum([OTLP.NumberPoint(), OTLP.NumberPoint()], .delta, isMonotonic: true)
        var histogram = OTLP.Metric()
        histogram.name = "wait"
        histogram.data = .exponentialHistogram([OTLP.ExponentialPoint()], .delta)
        let (batch, outcome) = translated([metric, histogram])
        #expect(batch.entries.isEmpty)
        #expect(outcome.rejected == 3)
        #expect(outcome.message.hasPrefix("the metric \"jobs\" has delta temporality"))
    }

    @Test func `a point without a recorded value ends its series`() {
        var point = OTLP.NumberPoint()
        point.head.flags = 1
        var gauge = OTLP.Metric()
        gauge.name = "g"
        gauge.data = .gauge([point])
        var exponential = OTLP.Metric()
        exponential.name = "e"
        var empty = OTLP.ExponentialPoint()
        empty.head.flags = 1
        exponential.data = .exponentialHistogram([empty], .cumulative)
        let (batch, _) = translated([gauge, exponential])
        #expect(lines(batch) == ["g stale", "e "])
        #expect(StaleMarker.isStale(batch.histograms[0].sum))
    }

    @Test func `summaries give quantiles, and without an identity no target is told`() {
        var point = OTLP.SummaryPoint()
        point.count = 4
        point.sum = 10
        point.quantiles = [.init(quantile: 0.99, value: 3)]
        var metric = OTLP.Metric()
        metric.name = "s"
        metric.data = .summary([point])
        let (batch, _) = translated([metric], [.init("host.name", .string("h"))])
        #expect(lines(batch) == ["s_sum 10", "s_count 4", #"s{quantile="0.99"} 3"#])
    }

    @Test func `attributes of the resource are promoted on demand and give way to a point's own`() {
        var (batch, part) = (OTLP.Batch<OTLP.Metric>(), OTLP.Batch<OTLP.Metric>.Part())
        var metric = OTLP.Metric()
        metric.name = "g"
        var point = OTLP.NumberPoint()
        point.value = 1
        point.head.attributes = [.init("zone", .string("own")), .init("job", .string("mine"))]
        metric.data = .gauge([point])
        part.items = [metric]
        batch.parts = [part]
        batch.resource.attributes = [
            .init("service.name", .string("shop")), .init("zone", .string("eu")), .init("k8s.pod", .string("p")),
        ]
        var out = WriteBatch()
        _ = OTLPTranslation(promotedAttributes: ["zone", "k8s.pod"]).translate([batch], into: &out)
        #expect(
            lines(out) == [
                #"g{job="shop", k8s_pod="p", zone="own"} 1"#, #"target_info{job="shop", k8s_pod="p", zone="eu"} 1"#,
            ])
    }
}
