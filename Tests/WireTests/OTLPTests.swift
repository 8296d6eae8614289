import Series
import Testing

@testable import Wire

/// Exports of opentelemetry-sdk 1.45.2 (Python): metrics and traces as its OTLP encoder made them, with ids and times
/// set to fixed ones; logs built by opentelemetry-proto 1.45.2. JSON by protobuf 7.36.2's `MessageToJson`, ids made
/// hexadecimal as OTLP wants them.
enum OTLPSamples {
    static let traces = hex(
        """
        0aae030a640a160a0c736572766963652e6e616d6512060a0473686f700a190a11736572766963652e6e616d65737061
        636512040a0265750a1c0a13736572766963652e696e7374616e63652e696412050a03692d310a110a09686f73742e6e
        616d6512040a02683112c5020a0a0a036c69621203312e3212ab010a104bf92f3577b34da6a3ce929d0e0e4736120800
        f067aa0ba902b7220800f067aa0ba902b82a056368696c6430013900002a36fe9c97174160e34036fe9c97175a2209e8
        032a36fe9c9717120a63616368652e6d6973731a0b0a036b657912040a026b316a330a104bf92f3577b34da6a3ce929d
        0e0e4736120800f067aa0ba902b822100a0377687912090a076265636175736535000100007a09120562726f6b651802
        8501000100001288010a104bf92f3577b34da6a3ce929d0e0e4736120800f067aa0ba902b82a06706172656e74300239
        00002a36fe9c97174160e34036fe9c97174a080a017312030a01744a100a0169120b18f9ffffffffffffffff014a0e0a
        0164120921000000000000f83f4a070a0162120210014a110a016c120c2a0a0a030a01780a030a01797a008501000100
        00
        """)
    static let tracesJSON = Array(
        #"""
        {"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"shop"}},{"key":"service.namespace","value":{"stringValue":"eu"}},
        {"key":"service.instance.id","value":{"stringValue":"i-1"}},{"key":"host.name",
        "value":{"stringValue":"h1"}}]},"scopeSpans":[{"scope":{"name":"lib","version":"1.2"},
        "spans":[{"traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","spanId":"00F067AA0BA902B7",
        "parentSpanId":"00F067AA0BA902B8","name":"child","kind":"SPAN_KIND_INTERNAL",
        "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000001500000",
        "events":[{"timeUnixNano":"1700000000000001000","name":"cache.miss","attributes":[{"key":"key",
        "value":{"stringValue":"k1"}}]}],"links":[{"traceId":"4BF92F3577B34DA6A3CE929D0E0E4736",
        "spanId":"00F067AA0BA902B8","attributes":[{"key":"why","value":{"stringValue":"because"}}],
        "flags":256}],"status":{"message":"broke","code":"STATUS_CODE_ERROR"},"flags":256},
        {"traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","spanId":"00F067AA0BA902B8","name":"parent",
        "kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1700000000000000000",
        "endTimeUnixNano":"1700000000001500000","attributes":[{"key":"s","value":{"stringValue":"t"}},
        {"key":"i","value":{"intValue":"-7"}},{"key":"d","value":{"doubleValue":1.5}},{"key":"b",
        "value":{"boolValue":true}},{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"},
        {"stringValue":"y"}]}}}],"status":{},"flags":256}]}]}]}
        """#.utf8)
    static let metrics = hex(
        """
        0adf070a640a160a0c736572766963652e6e616d6512060a0473686f700a190a11736572766963652e6e616d65737061
        636512040a0265750a1c0a13736572766963652e696e7374616e63652e696412050a03692d310a110a09686f73742e6e
        616d6512040a02683112f6060a0a0a036c69621203312e32126e0a0d687474702e726571756573747312095265717565
        7374732e1a01313a4f0a491100002a36fe9c9717190058712e0c9d97173103000000000000003a140a0b687474702e6d
        6574686f6412050a034745543a0a0a03612e6212030a01783a0a0a03615f6212030a017910021801122f0a0c71756575
        652e6c656e6774683a1f0a1b1100002a36fe9c9717190058712e0c9d971731feffffffffffffff100212240a09637075
        2e75736167651a01312a140a12190058712e0c9d971721000000000000d03f12dd010a04776169741a01734ad1010acc
        011100002a36fe9c9717190058712e0c9d97172102000000000000002900000000000015403218010000000000000000
        0000000000000001000000000000003a10000000000000e03f0000000000000040422e1140423936fe9c971719000000
        000000d03f220800f067aa0ba902b82a104bf92f3577b34da6a3ce929d0e0e4736422e1140423936fe9c9717220800f0
        67aa0ba902b82a104bf92f3577b34da6a3ce929d0e0e47363105000000000000004a080a016b12030a01765900000000
        0000d03f610000000000001440100212c0030a0473697a651a02427952b3030aae031100002a36fe9c9717190058712e
        0c9d9717210500000000000000290000000000788f40300639010000000000000042a501080112a00101000000000000
        000100000000000000010000000000000000000000000000000000000000000000000000000000000000000000000000
        000000000000000000000000000000000000000000000000000100000000000000000000000000000000000000000000
        000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
        0000000000000000004a031201005a2e1140423936fe9c9717220800f067aa0ba902b82a104bf92f3577b34da6a3ce92
        9d0e0e47363101000000000000005a2e1140423936fe9c9717220800f067aa0ba902b82a104bf92f3577b34da6a3ce92
        9d0e0e47363102000000000000005a2e1140423936fe9c9717220800f067aa0ba902b82a104bf92f3577b34da6a3ce92
        9d0e0e47363104000000000000005a2e1140423936fe9c9717220800f067aa0ba902b82a104bf92f3577b34da6a3ce92
        9d0e0e473631e803000000000000610000000000000000690000000000408f401002
        """)
    static let metricsJSON = Array(
        #"""
        {"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"shop"}},{"key":"service.namespace","value":{"stringValue":"eu"}},
        {"key":"service.instance.id","value":{"stringValue":"i-1"}},{"key":"host.name",
        "value":{"stringValue":"h1"}}]},"scopeMetrics":[{"scope":{"name":"lib","version":"1.2"},
        "metrics":[{"name":"http.requests","description":"Requests.","unit":"1",
        "sum":{"dataPoints":[{"startTimeUnixNano":"1700000000000000000",
        "timeUnixNano":"1700000060000000000","asInt":"3","attributes":[{"key":"http.method",
        "value":{"stringValue":"GET"}},{"key":"a.b","value":{"stringValue":"x"}},{"key":"a_b",
        "value":{"stringValue":"y"}}]}],"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE",
        "isMonotonic":true}},{"name":"queue.length",
        "sum":{"dataPoints":[{"startTimeUnixNano":"1700000000000000000",
        "timeUnixNano":"1700000060000000000","asInt":"-2"}],
        "aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE"}},{"name":"cpu.usage","unit":"1",
        "gauge":{"dataPoints":[{"timeUnixNano":"1700000060000000000","asDouble":0.25}]}},{"name":"wait",
        "unit":"s","histogram":{"dataPoints":[{"startTimeUnixNano":"1700000000000000000",
        "timeUnixNano":"1700000060000000000","count":"2","sum":5.25,"bucketCounts":["1","0","1"],
        "explicitBounds":[0.5,2.0],"exemplars":[{"timeUnixNano":"1700000000001000000","asDouble":0.25,
        "spanId":"00F067AA0BA902B8","traceId":"4BF92F3577B34DA6A3CE929D0E0E4736"},
        {"timeUnixNano":"1700000000001000000","spanId":"00F067AA0BA902B8",
        "traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","asInt":"5"}],"attributes":[{"key":"k",
        "value":{"stringValue":"v"}}],"min":0.25,"max":5.0}],
        "aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE"}},{"name":"size","unit":"By",
        "exponentialHistogram":{"dataPoints":[{"startTimeUnixNano":"1700000000000000000",
        "timeUnixNano":"1700000060000000000","count":"5","sum":1007.0,"scale":3,"zeroCount":"1",
        "positive":{"offset":-1,"bucketCounts":["1","0","0","0","0","0","0","0","1","0","0","0","0","0",
        "0","0","1","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0",
        "0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0",
        "0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","1","0","0","0","0","0",
        "0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0",
        "0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0",
        "0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0","0",
        "0","0"]},"negative":{"bucketCounts":["0"]},"exemplars":[{"timeUnixNano":"1700000000001000000",
        "spanId":"00F067AA0BA902B8","traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","asInt":"1"},
        {"timeUnixNano":"1700000000001000000","spanId":"00F067AA0BA902B8",
        "traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","asInt":"2"},{"timeUnixNano":"1700000000001000000",
        "spanId":"00F067AA0BA902B8","traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","asInt":"4"},
        {"timeUnixNano":"1700000000001000000","spanId":"00F067AA0BA902B8",
        "traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","asInt":"1000"}],"min":0.0,"max":1000.0}],
        "aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE"}}]}]}]}
        """#.utf8)
    static let logs = hex(
        """
        0ab1010a180a160a0c736572766963652e6e616d6512060a0473686f701294011291010900002a36fe9c971710111a05
        4552524f522a110a0f7061796d656e74207265667573656432120a056f726465721209188180808080808010321e0a04
        74616773121632140a070a0162120210000a090a016112043a0200ff45010000004a104bf92f3577b34da6a3ce929d0e
        0e4736520800f067aa0ba902b75901002a36fe9c9717620c6f726465722e6661696c6564
        """)
    static let logsJSON = Array(
        #"""
        {"resourceLogs":[{"resource":{"attributes":[{"key":"service.name",
        "value":{"stringValue":"shop"}}]},
        "scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000000",
        "severityNumber":"SEVERITY_NUMBER_ERROR","severityText":"ERROR",
        "body":{"stringValue":"payment refused"},"attributes":[{"key":"order",
        "value":{"intValue":"9007199254740993"}},{"key":"tags",
        "value":{"kvlistValue":{"values":[{"key":"b","value":{"boolValue":false}},{"key":"a",
        "value":{"bytesValue":"AP8="}}]}}}],"flags":1,"traceId":"4BF92F3577B34DA6A3CE929D0E0E4736",
        "spanId":"00F067AA0BA902B7","observedTimeUnixNano":"1700000000000000001",
        "eventName":"order.failed"}]}]}]}
        """#.utf8)
}

@Suite struct OTLPTests {
    @Test func `spans arrive with all their parts`() throws {
        let batches = try OTLP.decodeTraces(OTLPSamples.traces, .protobuf)
        #expect(batches.count == 1)
        let batch = batches[0]
        #expect(batch.resource["service.name"] == .string("shop"))
        #expect(batch.resource.attributes.map(\.key).last == "host.name")
        #expect(batch.parts.map(\.scope.name) == ["lib"])
        #expect(batch.parts[0].scope.version == "1.2")
        let (child, parent) = (batch.parts[0].items[0], batch.parts[0].items[1])
        #expect(child.traceID.hex == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(child.spanID.hex == "00f067aa0ba902b7")
        #expect(child.parentID == parent.spanID)
        #expect(parent.parentID.isEmpty)
        #expect((child.name, child.kind, child.status, child.statusMessage) == ("child", .internal, .error, "broke"))
        #expect((child.start, child.end) == (1_700_000_000_000_000_000, 1_700_000_000_001_500_000))
        #expect(child.events.map(\.name) == ["cache.miss"])
        #expect(child.events[0].attributes == [.init("key", .string("k1"))])
        #expect(child.links.map(\.spanID) == [parent.spanID])
        #expect(parent.kind == .server)
        #expect(
            parent.attributes == [
                .init("s", .string("t")), .init("i", .int(-7)), .init("d", .double(1.5)), .init("b", .bool(true)),
                .init("l", .array([.string("x"), .string("y")])),
            ])
    }

    @Test func `a log record arrives with all its parts`() throws {
        let record = try OTLP.decodeLogs(OTLPSamples.logs, .protobuf)[0].parts[0].items[0]
        #expect((record.time, record.observedTime) == (1_700_000_000_000_000_000, 1_700_000_000_000_000_001))
        #expect((record.severity, record.severityText, record.level) == (17, "ERROR", "error"))
        #expect(record.body == .string("payment refused"))
        #expect(record.attributes[0] == .init("order", .int(9_007_199_254_740_993)))
        #expect(record.attributes[1].value.text == #"{"a":"AP8=","b":false}"#)
        #expect((record.spanID.hex, record.eventName, record.flags) == ("00f067aa0ba902b7", "order.failed", 1))
    }

    @Test func `JSON means what protobuf means`() throws {
        #expect(
            try OTLP.decodeTraces(OTLPSamples.tracesJSON, .json) == OTLP.decodeTraces(OTLPSamples.traces, .protobuf))
        #expect(try OTLP.decodeLogs(OTLPSamples.logsJSON, .json) == OTLP.decodeLogs(OTLPSamples.logs, .protobuf))
        #expect(
            try OTLP.decodeMetrics(OTLPSamples.metricsJSON, .json) == OTLP.decodeMetrics(OTLPSamples.metrics, .protobuf)
        )
    }

    @Test func `JSON may write numbers as numbers, ids in either case, enums as numbers, and more than is known`()
        throws
    {
        let text = #"""
            { "unknown": [1, {"a": null}, "x"], "resourceLogs": [ {"scopeLogs": [ {"logRecords": [
              {"timeUnixNano": 1700000000000000000, "severityNumber": 9, "traceId": "4Bf92f3577b34da6A3ce929d0e0e4736",
               "body": {"kvlistValue": {"values": [{"key": "n", "value": {"intValue": 5.0}},
                 {"key": "d", "value": {"doubleValue": "-Infinity"}}, {"key": "z", "value": {"intValue": 0}},
                 {"key": "e", "value": {"stringValue": ""}}, {"key": "none", "value": null}]}},
               "spanId": "", "severityText": null, "attributes": []} ]} ]} ] }
            """#
        let record = try OTLP.decodeLogs(Array(text.utf8), .json)[0].parts[0].items[0]
        #expect((record.time, record.level) == (1_700_000_000_000_000_000, "info"))
        #expect(record.traceID.hex == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(
            record.body
                == .map([
                    .init("n", .int(5)), .init("d", .double(-.infinity)), .init("z", .int(0)), .init("e", .string("")),
                    .init("none", .empty),
                ]))
        #expect(record.body.text == #"{"d":"-Inf","e":"","n":5,"none":null,"z":0}"#)
    }

    @Test(arguments: [
        ("", "JSON at byte 0: an object is missing"), ("[]", "JSON at byte 0: an object is missing"),
        ("{} x", "JSON at byte 3: text goes on after the end"),
        (#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}"#, "traceId is not hexadecimal"),
        (
            #"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"abcd"}]}]}]}"#,
            "a trace id has 2 bytes instead of 16"
        ),
        (#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_X"}]}]}]}"#, "kind is not one of SPAN_KIND_…"),
        (#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"flags":1.5}]}]}]}"#, "flags is not a whole number of 64 bits"),
        (#"{"resourceSpans":7}"#, "an object is missing"), (#"{"a":"\ud800"}"#, "surrogate"),
        (#"{"a":01}"#, "misspelt"),
    ])
    func `JSON that is wrong is refused with its place`(text: String, message: String) {
        let error = #expect(throws: WireError.self) { try OTLP.decodeTraces(Array(text.utf8), .json) }
        #expect(error?.description.hasSuffix(message) == true || error?.description.contains(message) == true)
    }

    @Test func `an empty request is one`() throws {
        #expect(try OTLP.decodeTraces([], .protobuf).isEmpty)
        #expect(try OTLP.decodeTraces(Array("{}".utf8), .json).isEmpty)
    }

    @Test func `values that nest without end are refused`() {
        let deep = #"{"resourceLogs":["# + String(repeating: #"{"scopeLogs":["#, count: 1_000)
        let error = #expect(throws: WireError.self) { try OTLP.decodeLogs(Array(deep.utf8), .json) }
        #expect(error?.code == .tooDeep)
        var value = ProtobufWriter()
        for _ in 0..<100 {
            let inner = value.bytes
            value = ProtobufWriter()
            value.message(5) { $0.message(1) { $0.bytes += inner } }
        }
        var request = ProtobufWriter()
        request.message(1) { $0.message(2) { $0.message(2) { $0.message(5) { $0.bytes += value.bytes } } } }
        let other = #expect(throws: WireError.self) { try OTLP.decodeLogs(request.bytes, .protobuf) }
        #expect(other?.code == .tooDeep)
    }

    @Test func `answers are those of the protocol`() {
        // opentelemetry-proto 1.45.2, `ExportTraceServiceResponse`.
        let message = "why \"so\""
        #expect(OTLP.response(.traces, .protobuf, rejected: 3, message: message) == hex("0a0c080312087768792022736f22"))
        #expect(
            String(decoding: OTLP.response(.traces, .json, rejected: 3, message: message), as: UTF8.self)
                == #"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"why \"so\""}}"#)
        #expect(OTLP.response(.logs, .protobuf).isEmpty)
        #expect(OTLP.response(.metrics, .json) == Array("{}".utf8))
        #expect(OTLP.status(.invalidArgument, "bad", .protobuf) == hex("08031203626164"))
        #expect(OTLP.status(.unavailable, "later", .json) == Array(#"{"code":14,"message":"later"}"#.utf8))
        #expect(OTLP.Encoding(contentType: "application/json; charset=utf-8") == .json)
        #expect(OTLP.Encoding(contentType: "Application/X-Protobuf") == .protobuf)
        #expect(OTLP.Encoding(contentType: "text/plain") == nil)
    }

    @Test func `ids are read and written in hexadecimal`() {
        #expect(OTLP.TraceID(hex: "1")?.hex == "00000000000000000000000000000001")
        #expect(OTLP.TraceID(hex: "ABcd" + String(repeating: "0", count: 28))?.high == 0xabcd_0000_0000_0000)
        #expect(OTLP.SpanID(hex: "fF")?.hex == "00000000000000ff")
        for bad in ["", "g", String(repeating: "0", count: 33)] { #expect(OTLP.TraceID(hex: bad) == nil) }
        for bad in ["", "+1", "-1", "00000000000000000"] { #expect(OTLP.SpanID(hex: bad) == nil) }
    }

    @Test func `no mutation of an export crashes`() {
        fuzz(OTLPSamples.traces, rounds: 4_000) { _ = try OTLP.decodeTraces($0, .protobuf) }
        fuzz(OTLPSamples.tracesJSON, rounds: 4_000) { _ = try OTLP.decodeTraces($0, .json) }
        fuzz(OTLPSamples.logs, rounds: 4_000) { _ = try OTLP.decodeLogs($0, .protobuf) }
        fuzz(OTLPSamples.logsJSON, rounds: 4_000) { _ = try OTLP.decodeLogs($0, .json) }
        for (body, encoding) in [(OTLPSamples.metrics, OTLP.Encoding.protobuf), (OTLPSamples.metricsJSON, .json)] {
            fuzz(body, rounds: 4_000) {
                var batch = WriteBatch()
                _ = OTLPTranslation().translate(try OTLP.decodeMetrics($0, encoding), into: &batch)
            }
        }
    }
}
