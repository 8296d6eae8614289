import Series
import Testing

@testable import Wire

@Suite struct RemoteWriteTests {
    // protobuf 7.36.2 (Python) from the fields of prometheus/prompb `types.proto`, cramjam 2.14.0
    // `snappy.compress_raw`.
    let request = hex(
        """
        cf02f0400a790a0e0a085f5f6e616d655f5f120275700a0a0a036a6f6212036170690a0f0a047a6f6e6512075ac3bc726963
        68121009000000000000f03f1080d095ffbc31151288e0bf1098c596ffbc311a260a140a0874726163655f69641208346266
        39326633351100053a10d03f1881d0013a100ab0010a131d7c1c076c6174656e63792e810010223d0814190537d800294020
        0629fca9f1d24d62503f30024204080210014a01005a04080310025a04080610036205080102050a70027880d095ffbc3122
        4e0d75041e400d4624f8bf20695a0210036a18095604f83f0908040040090810104070037809c808820110091400e00d2414
        f03f1a1f080315a84c2209486f77206c6f6e672e2a077365636f6e6473
        """)
    let readRequest = hex(
        """
        55f0540a5308e80710c8dc031a0e12085f5f6e616d655f5f1a0275701a0b080112036a6f621a0264621a0e080212047a6f6e
        651a0465752e2a1a1108031203656e761a086465767c74657374220a08987518e80720c8dc03
        """)
    let readResponse = hex(
        """
        30bc0a2c0a2a0a0e0a085f5f6e616d655f5f120275700a0a0a036a6f621203617069120c09000000000000f03f10e8070a00
        """)

    func decoded(_ bytes: [UInt8]) throws -> WriteBatch {
        var batch = WriteBatch()
        try RemoteWrite.decode(snappy: bytes, into: &batch)
        return batch
    }

    @Test func `numbers, exemplars and labels arrive`() throws {
        let batch = try decoded(request)
        #expect(batch.entries.count == 2)
        let up = batch.entries[0]
        #expect(batch.labels(of: up) == Labels(["__name__": "up", "job": "api", "zone": "Zürich"]))
        #expect(Array(batch.times[up.samples]) == [1_700_000_000_000, 1_700_000_015_000])
        #expect(Array(batch.values[up.samples]) == [1, -0.5])
        let exemplar = Exemplar(labels: Labels(["trace_id": "4bf92f35"]), value: 0.25, time: 1_700_000_000_001)
        #expect(Array(batch.exemplars[up.exemplars]) == [exemplar])
        #expect(up.histograms.isEmpty)
        #expect(
            batch.metadata == [MetricMetadata(family: "latency", kind: .histogram, help: "How long.", unit: "seconds")])
    }

    @Test func `histograms of whole and of floating-point counts arrive`() throws {
        let batch = try decoded(request)
        let entry = batch.entries[1]
        #expect(entry.samples.isEmpty)
        #expect(batch.histogramTimes == [1_700_000_000_000, 1_700_000_015_000])
        var whole = FloatHistogram()
        whole.counterReset = .notReset
        whole.schema = 3
        (whole.zeroThreshold, whole.zeroCount, whole.count, whole.sum) = (0.001, 2, 20, 12.5)
        whole.positiveSpans = [.init(offset: -2, length: 2), .init(offset: 3, length: 3)]
        whole.positiveBuckets = [4, 3, 4, 1, 6]
        whole.negativeSpans = [.init(offset: 1, length: 1)]
        whole.negativeBuckets = [0]
        var custom = FloatHistogram()
        custom.counterReset = .gauge
        custom.schema = FloatHistogram.customBuckets
        (custom.count, custom.sum) = (7.5, -1.5)
        custom.positiveSpans = [.init(offset: 0, length: 3)]
        custom.positiveBuckets = [1.5, 2, 4]
        custom.customValues = [0.5, 1]
        #expect(batch.histograms == [whole, custom])
    }

    @Test func `a batch comes back as it was, in requests of bounded size`() throws {
        var batch = try decoded(request)
        for index in 0..<7 {
            batch.append(Labels(["__name__": "many", "n": "\(index)"])) { batch in
                for time in 0..<5 { batch.append(Int64(time), Double(index * 10 + time)) }
                batch.append(9, batch.histograms[0])
            }
        }
        for limit in [1, 2, 3, 7, 1_000] {
            let bodies = RemoteWrite.encode(batch, samplesPerRequest: limit)
            var again: [Labels: [String]] = [:]
            var exemplars: [Exemplar] = []
            var metadata: [MetricMetadata] = []
            for body in bodies {
                let part = try decoded(body)
                #expect(part.sampleCount <= limit)
                metadata += part.metadata
                for entry in part.entries {
                    again[part.labels(of: entry), default: []] += described(entry, part)
                    exemplars += part.exemplars[entry.exemplars]
                }
            }
            for entry in batch.entries { #expect(again[batch.labels(of: entry)] == described(entry, batch)) }
            #expect(exemplars == batch.exemplars)
            #expect(metadata == batch.metadata)
            #expect(bodies.count == (batch.sampleCount + limit - 1) / limit)
        }
    }

    private func described(_ entry: WriteBatch.Entry, _ batch: WriteBatch) -> [String] {
        entry.samples.map { "\(batch.times[$0]) \(batch.values[$0])" }
            + entry.histograms.map { "\(batch.histogramTimes[$0]) \(batch.histograms[$0])" }
    }

    func request(labels: [(String, String)]) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.message(1) { writer in
            for (name, value) in labels {
                writer.message(1) { writer in
                    writer.string(1, name)
                    writer.string(2, value)
                }
            }
        }
        return Snappy.encode(writer.bytes)
    }

    @Test func `unsorted, doubled and nameless labels are refused, the offender named`() {
        let cases: [([(String, String)], String)] = [
            ([("b", "1"), ("a", "2")], "labels are not sorted: a=\"2\" comes after b, in m{b=\"1\"}"),
            ([("a", "1"), ("a", "2")], "a label is there twice: a=\"2\", in m{a=\"1\"}"),
            ([("ab", "1"), ("a", "2")], "labels are not sorted: a=\"2\" comes after ab, in m{ab=\"1\"}"),
            ([("", "2")], "a label without a name: =\"2\", in m"),
        ]
        for (labels, message) in cases {
            let labels = [("__name__", "m")] + labels
            let error = #expect(throws: WireError.self) { try decoded(request(labels: labels)) }
            #expect(error == WireError(.invalidSeries, message))
        }
    }

    @Test func `a label without a value is none, and long ones keep their bytes`() throws {
        let long = String(repeating: "x", count: 20_000)
        let batch = try decoded(request(labels: [("__name__", "m"), ("a", ""), (String(long.prefix(200)), long)]))
        #expect(batch.labels(of: batch.entries[0]) == Labels(["__name__": "m", String(long.prefix(200)): long]))
    }

    @Test func `text that is not UTF-8 is refused in a short and in a long label`() {
        for filler in [0, 300] {
            var writer = ProtobufWriter()
            writer.message(1) { writer in
                writer.message(1) { writer in
                    writer.string(1, "a")
                    writer.data(2, Array(repeating: 0x61, count: filler) + [0xc3, 0x28])
                }
            }
            let error = #expect(throws: WireError.self) { try decoded(Snappy.encode(writer.bytes)) }
            #expect(error?.code == .invalidText)
        }
    }

    @Test func `a histogram that contradicts itself is refused by name`() {
        var histogram = FloatHistogram()
        histogram.positiveSpans = [.init(offset: 0, length: 2)]
        histogram.positiveBuckets = [1]
        var batch = WriteBatch()
        batch.append(Labels(["__name__": "latency"])) { $0.append(1, histogram) }
        let error = #expect(throws: WireError.self) { try decoded(RemoteWrite.encode(batch)[0]) }
        #expect(error?.description == "a histogram of latency has 1 positive buckets, yet spans of 2")
    }

    @Test func `reading back asks and answers as Prometheus does`() throws {
        var query = RemoteRead.Query(
            from: 1_000, to: 61_000,
            matchers: [
                LabelMatcher("__name__", .equal, "up"), LabelMatcher("job", .notEqual, "db"),
                LabelMatcher("zone", .matches, "eu.*"), LabelMatcher("env", .doesNotMatch, "dev|test"),
            ])
        query.step = 15_000
        #expect(try RemoteRead.decode(request: readRequest) == [query])
        #expect(try RemoteRead.decode(request: RemoteRead.encode(request: [query])) == [query])

        let results = try RemoteRead.decode(response: readResponse, limit: 1_000)
        #expect(results.map(\.entries.count) == [1, 0])
        #expect(results[0].labels(of: results[0].entries[0]).description == "up{job=\"api\"}")
        #expect(results[0].values == [1])
        // The same bytes as Python's library wrote.
        let again = try Snappy.decode(RemoteRead.encode(response: results), limit: 1_000)
        #expect(again == (try Snappy.decode(readResponse, limit: 1_000)))
    }

    @Test func `no mutation of a request crashes`() throws {
        let plain = try Snappy.decode(request, limit: 1_000)
        var batch = WriteBatch()
        fuzz(plain, rounds: 5_000) {
            batch.removeAll()
            try RemoteWrite.decode(protobuf: $0, into: &batch)
            for entry in batch.entries { _ = batch.labels(of: entry).pairs }
            _ = RemoteWrite.encode(batch)
        }
        fuzz(request) { _ = try decoded($0) }
        fuzz(readResponse) { _ = try RemoteRead.decode(response: $0, limit: 1_000) }
        fuzz(readRequest) { _ = try RemoteRead.decode(request: $0) }
    }

    @Test func `messages that nest without end are refused`() {
        var group: [UInt8] = []
        for _ in 0..<1_000 { group.append(0x23) }
        let error = #expect(throws: WireError.self) {
            var batch = WriteBatch()
            try RemoteWrite.decode(protobuf: group, into: &batch)
        }
        #expect(error?.code == .tooDeep)
    }
}
