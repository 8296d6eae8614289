import Series
import Testing

@testable import Wire

@Suite struct ExpositionTests {
    // prometheus_client 0.26.0, `openmetrics.exposition.generate_latest`; times set to round ones.
    let openMetrics = #"""
        # HELP http_requests Requests \"served\"\nsince start.
        # TYPE http_requests counter
        http_requests_total{code="200",path="/a\"b\\c\nd"} 3.0 # {trace_id="4bf92f35"} 3.0 1700000000.123
        http_requests_created{code="200",path="/a\"b\\c\nd"} 1.7e+09
        # TYPE temperature_celsius gauge
        # UNIT temperature_celsius celsius
        temperature_celsius{room="Küche"} -21.5
        # HELP latency_seconds How long.
        # TYPE latency_seconds histogram
        latency_seconds_bucket{le="0.1"} 1.0
        latency_seconds_bucket{le="1.0"} 1.0
        latency_seconds_bucket{le="2.5"} 2.0 # {trace_id="ff"} 1.5 1700000000.123
        latency_seconds_bucket{le="+Inf"} 3.0
        latency_seconds_count 3.0
        latency_seconds_sum 10.55
        # HELP build Built.
        # TYPE build info
        build_info{version="1.2.3"} 1.0
        # TYPE nan_one gauge
        nan_one NaN
        # TYPE inf_one gauge
        inf_one -Inf
        # EOF

        """#
    // protobuf 7.36.2 (Python) from the fields of prometheus/client_model `metrics.proto`.
    let families = hex(
        """
        620a0a6a6f62735f746f74616c12054a6f62732e1800224b0a060a017a1201310a060a01611201321a32090000000000
        00144012270a0e0a0874726163655f69641202616211000000000000f03f1a0c0880a0f8fa051080cab5ee01308080ba
        bbc82e3f0a0473697a6518022235223308021100000000000036401a1209000000000000e03f1100000000000024401a
        1209000000000000f03f1100000000000028406b0a076c6174656e6379180422553a530807110000000000000c401a0b
        080411000000000000f03f280431000000000000f03738016204080010026204080410016804680268038201190a0e0a
        0874726163655f69641202636411000000000000e03f2a077365636f6e6473270a07636c61737369631804221a3a1808
        0311000000000000f83f1a0b080211000000000000e03f
        """)

    func parsed(_ format: Exposition, _ body: [UInt8], keepsClassicBuckets: Bool = false) throws -> WriteBatch {
        var batch = WriteBatch()
        try format.parse(body, at: 1_000, into: &batch, keepsClassicBuckets: keepsClassicBuckets)
        return batch
    }

    func lines(_ batch: WriteBatch) -> [String] {
        batch.entries.map { entry in
            let samples = entry.samples.map { "\(GoFloat.general(batch.values[$0])) @\(batch.times[$0])" }
            let exemplars = batch.exemplars[entry.exemplars].map {
                " # \($0.labels) \($0.value) \($0.time.map(String.init) ?? "-")"
            }
            return "\(batch.labels(of: entry)) " + (samples + exemplars).joined()
        }
    }

    @Test func `OpenMetrics of the Python client is read whole`() throws {
        let batch = try parsed(.openMetrics, Array(openMetrics.utf8))
        let labels = #"{code="200", path="/a\"b\\c\nd"}"#
        #expect(
            lines(batch) == [
                "http_requests_total" + labels + #" 3 @1000 # {trace_id="4bf92f35"} 3.0 1700000000123"#,
                "http_requests_created" + labels + " 1.7e+09 @1000",
                #"temperature_celsius{room="Küche"} -21.5 @1000"#,
                #"latency_seconds_bucket{le="0.1"} 1 @1000"#,
                #"latency_seconds_bucket{le="1.0"} 1 @1000"#,
                #"latency_seconds_bucket{le="2.5"} 2 @1000 # {trace_id="ff"} 1.5 1700000000123"#,
                #"latency_seconds_bucket{le="+Inf"} 3 @1000"#,
                "latency_seconds_count 3 @1000", "latency_seconds_sum 10.55 @1000",
                #"build_info{version="1.2.3"} 1 @1000"#, "nan_one NaN @1000", "inf_one -Inf @1000",
            ])
        #expect(
            Array(batch.metadata.prefix(3)) == [
                MetricMetadata(family: "http_requests", kind: .counter, help: "Requests \"served\"\nsince start."),
                MetricMetadata(family: "temperature_celsius", kind: .gauge, unit: "celsius"),
                MetricMetadata(family: "latency_seconds", kind: .histogram, help: "How long."),
            ])
        #expect(batch.entries.allSatisfy { !$0.hasOwnTime })
    }

    @Test func `the old text is read with its times, comments, spaces and quoted names`() throws {
        let text = [
            "# a comment", #"# HELP up Whether \\ it\nis up."#, "# TYPE up untyped", "", "up 1 1600000000000",
            #"  spaced {  b = "2" , a="1",  } "# + "\t 0x1p3\r", #"{"name.with.dots", "läbel"="x", b=""} 4"#,
            "# TYPE rpc histogram", #"rpc_bucket{le="1"} 1"#, #"rpc_bucket{le="2.50"} 2"#, "last +Inf",
        ].joined(separator: "\n")
        let batch = try parsed(.text, Array(text.utf8))
        #expect(
            lines(batch) == [
                "up 1 @1600000000000", #"spaced{a="1", b="2"} 8 @1000"#, #"name.with.dots{läbel="x"} 4 @1000"#,
                #"rpc_bucket{le="1.0"} 1 @1000"#, #"rpc_bucket{le="2.5"} 2 @1000"#, "last +Inf @1000",
            ])
        #expect(batch.entries.map(\.hasOwnTime) == [true, false, false, false, false, false])
        #expect(
            batch.metadata == [
                MetricMetadata(family: "up", help: "Whether \\ it\nis up."),
                MetricMetadata(family: "rpc", kind: .histogram),
            ])
    }

    @Test(arguments: [
        ("a", "line 1: a sample's value is no number: \"\""), ("a b", "line 1: a sample's value is no number: \"b\""),
        ("a 1 x", "line 1: a timestamp is no number: \"x\""), ("a 1 2 3", "line 1: text goes on after the sample"),
        ("ok 1\n9a 1", "line 2: a metric's name is missing"), ("a{b} 1", "line 1: a label's name is not followed by ="),
        ("a{b=1} 1", "line 1: a label's value is not in double quotes"),
        ("a{b=\"1} 1", "line 1: a text in quotes does not end"),
        ("a{b=\"1\" c=\"2\"} 1", "line 1: a comma or } is missing after a label"),
        ("a{b=\"1\",b=\"2\"} 1", "line 1: the label \"b\" is there twice"),
        ("a{b=\"\\x\"} 1", "line 1: a text in quotes has an escape that does not exist"),
        ("# TYPE a blob", "line 1: no metric has the type \"blob\""), ("{b=\"1\"} 1", "line 1: a sample has no name"),
        ("a{\"b\"} 1", "line 1: a sample has two names"),
    ])
    func `a line that is wrong is named`(text: String, message: String) {
        let error = #expect(throws: WireError.self) { try parsed(.text, Array(text.utf8)) }
        #expect(error?.description == message)
    }

    @Test(arguments: [
        ("a 1\n", "line 2: # EOF is missing at the end"), ("# EOF\na 1\n", "line 1: text goes on after # EOF"),
        ("\n# EOF\n", "line 1: OpenMetrics has no empty lines"),
        ("# UNIT a seconds\n# EOF\n", "line 1: the metric \"a\" does not end in its unit, \"seconds\""),
        ("a 1 # x\n# EOF\n", "line 1: an exemplar does not begin with labels"),
    ])
    func `OpenMetrics is held to its rules`(text: String, message: String) {
        let error = #expect(throws: WireError.self) { try parsed(.openMetrics, Array(text.utf8)) }
        #expect(error?.description == message)
    }

    @Test func `protobuf brings native histograms, summaries and exemplars`() throws {
        let batch = try parsed(.protobuf, families)
        #expect(
            lines(batch) == [
                #"jobs_total{a="2", z="1"} 5 @1600000000000 # {trace_id="ab"} 1.0 1600000000500"#,
                "size_count 2 @1000", "size_sum 22 @1000", #"size{quantile="0.5"} 10 @1000"#,
                #"size{quantile="1.0"} 12 @1000"#, #"latency  # {trace_id="cd"} 0.5 -"#,
                "classic_count 3 @1000", "classic_sum 1.5 @1000", #"classic_bucket{le="0.5"} 2 @1000"#,
                #"classic_bucket{le="+Inf"} 3 @1000"#,
            ])
        var native = FloatHistogram()
        native.schema = 2
        (native.zeroThreshold, native.zeroCount, native.count, native.sum) = (0x1p-128, 1, 7, 3.5)
        native.positiveSpans = [.init(offset: 0, length: 2), .init(offset: 2, length: 1)]
        native.positiveBuckets = [2, 3, 1]
        #expect(batch.histograms == [native])
        #expect(batch.metadata.map(\.kind) == [.counter, .summary, .histogram, .histogram])
        #expect(batch.metadata[2].unit == "seconds")
        let both = try parsed(.protobuf, families, keepsClassicBuckets: true)
        #expect(lines(both).contains(#"latency_bucket{le="1.0"} 4 @1000"#))
    }

    @Test func `what is written is read again in both texts`() throws {
        let exemplar = Exemplar(labels: Labels(["trace_id": "ab"]), value: 0.5, time: 1_600_000_000_500)
        for isOpenMetrics in [false, true] {
            var writer = ExpositionWriter(isOpenMetrics: isOpenMetrics)
            writer.begin("jobs", .counter, help: "Jobs \"done\".\nAll \\ of them.")
            writer.sample([("state", "a\"b\\c\nd")], 3, exemplar: exemplar)
            writer.begin("wait_seconds", .histogram, help: "Wait.", unit: "seconds")
            writer.histogram([("q", "x")], bounds: [0.5, 1_000_000], counts: [1, 2, 3], sum: 1e-7)
            writer.begin("build", .info, help: "")
            writer.sample([("version", "1")], 1)
            let batch = try parsed(isOpenMetrics ? .openMetrics : .text, writer.finish())
            #expect(
                lines(batch) == [
                    #"jobs_total{state="a\"b\\c\nd"} 3 @1000"#
                        + (isOpenMetrics ? #" # {trace_id="ab"} 0.5 1600000000500"# : ""),
                    #"wait_seconds_bucket{le="0.5", q="x"} 1 @1000"#,
                    #"wait_seconds_bucket{le="1e+06", q="x"} 3 @1000"#,
                    #"wait_seconds_bucket{le="+Inf", q="x"} 6 @1000"#, #"wait_seconds_sum{q="x"} 1e-07 @1000"#,
                    #"wait_seconds_count{q="x"} 6 @1000"#, #"build_info{version="1"} 1 @1000"#,
                ])
            #expect(batch.metadata[0].help == "Jobs \"done\".\nAll \\ of them.")
            #expect(batch.metadata.map(\.kind) == [.counter, .histogram, isOpenMetrics ? .info : .gauge])
        }
    }

    @Test(arguments: [
        // Go's strconv.FormatFloat(x, 'g' and 'f', -1, 64): an exponent below -4 and from 6 on.
        (0, "0", "0"), (1, "1", "1"), (0.1, "0.1", "0.1"), (100_000, "100000", "100000"), (1e6, "1e+06", "1000000"),
        (1_234_567, "1.234567e+06", "1234567"), (0.0001, "0.0001", "0.0001"), (0.00001, "1e-05", "0.00001"),
        (-2.5, "-2.5", "-2.5"), (1e20, "1e+20", "100000000000000000000"), (1.5e16, "1.5e+16", "15000000000000000"),
        (1e100, "1e+100", "1" + String(repeating: "0", count: 100)), (123_456.789, "123456.789", "123456.789"),
        (Double.infinity, "+Inf", "+Inf"), (-Double.infinity, "-Inf", "-Inf"), (Double.nan, "NaN", "NaN"),
    ])
    func `numbers are written as Go writes them`(value: Double, general: String, plain: String) {
        #expect(GoFloat.general(value) == general)
        #expect(GoFloat.plain(value) == plain)
    }

    @Test func `numbers are read to the last bit`() {
        var random = SeededRandom(7)
        for _ in 0..<20_000 {
            let digits = Int.random(in: 1...16, using: &random)
            var text = String(String(Int.random(in: 0..<10_000_000_000_000_000, using: &random)).prefix(digits))
            if let place = text.indices.randomElement(using: &random), Bool.random(using: &random) {
                text.insert(".", at: place)
            }
            if Bool.random(using: &random) { text = "-" + text }
            let read = Array(text.utf8).withUnsafeBufferPointer { GoFloat.parse($0) }
            #expect(read == Double(text), "\(text)")
        }
        for bad in ["", "-", ".", "1e400", "nan(1)", "1_0", " 1", "1 ", "--1", "1.2.3"] {
            #expect(Array(bad.utf8).withUnsafeBufferPointer { GoFloat.parse($0) } == nil, "\(bad)")
        }
    }

    @Test func `no mutation of a scrape crashes`() {
        fuzz(Array(openMetrics.utf8), rounds: 4_000) { _ = try parsed(.openMetrics, $0) }
        fuzz(Array(openMetrics.utf8), rounds: 4_000) { _ = try parsed(.text, $0) }
        fuzz(families, rounds: 4_000) { _ = try parsed(.protobuf, $0, keepsClassicBuckets: true) }
    }
}
