import Series
import Testing

@testable import Wire

@Suite struct LokiTests {
    // protobuf 7.36.2 (Python) from the fields of grafana/loki `push.proto`, cramjam 2.14.0 `snappy.compress_raw`.
    let push = hex(
        """
        5ef05d0a5c0a187b6170703d22617069222c207a6f6e653d22655c2275227d122f0a080880e2cfaa06100512136c6576
        656c3d696e666f206d73673d226f6b221a0e0a0874726163655f696412026162120d0a060881e2cfaa06120374776f18
        07
        """)
    let json = #"""
        {"streams": [{"stream": {"zone": "e\"u", "app": "api"}, "other": 1, "values": [
          ["1700000000000000005", "level=info msg=\"ok\"", {"trace_id": "ab"}], ["1700000001000000000", "two"]]}]}
        """#
    let stream = LokiPush.Stream(
        labels: Labels(["app": "api", "zone": "e\"u"]),
        entries: [
            .init(time: 1_700_000_000_000_000_005, line: "level=info msg=\"ok\"", metadata: [("trace_id", "ab")]),
            .init(time: 1_700_000_001_000_000_000, line: "two"),
        ])

    @Test func `both forms of a push are read alike`() throws {
        #expect(try LokiPush.decode(snappy: push) == [stream])
        #expect(try LokiPush.decode(json: Array(json.utf8)) == [stream])
        #expect(try LokiPush.decode(json: Array(#"{"streams":[]}"#.utf8)).isEmpty)
    }

    @Test(arguments: [
        (#"{a="b"}"#, ["a": "b"]), (#" { a = "b" , c_1="" , } "#, ["a": "b"]), ("{a=`b\\n\"`}", ["a": #"b\n""#]),
        (#"{a="x\n\t\\\"\u00e4\xc3\xb6\U0001F600"}"#, ["a": "x\n\t\\\"äö😀"]), ("{}", [:]),
    ])
    func `the text of a label set is read`(text: String, labels: [String: String]) throws {
        #expect(try LabelSetText.parse(text) == Labels(labels))
    }

    @Test(arguments: [
        "", "a", "{a}", "{a=b}", #"{a="b"#, #"{a="b"} x"#, #"{a="b" c="d"}"#, #"{1a="b"}"#, #"{a="b",a="c"}"#,
        #"{a="\q"}"#, #"{a="\u12"}"#, #"{a.b="c"}"#, #"{a="b",,}"#,
    ])
    func `what is no label set is refused`(text: String) {
        let error = #expect(throws: WireError.self) { try LabelSetText.parse(text) }
        #expect(error?.code == .invalidSeries)
        #expect(error?.description.hasPrefix("the labels \(text) could not be read") == true)
    }

    @Test(arguments: [
        (#"{"streams":[{"values":[["1","x"]]}]}"#, "a stream has no labels"),
        (#"{"streams":[{"stream":{"a":"b"},"values":[["x","y"]]}]}"#, "a time is no number of nanoseconds: \"x\""),
        (#"{"streams":[{"stream":{"a":"b"},"values":[["1"]]}]}"#, "a value is not a list of a time and a line"),
        (#"{"streams":[{"stream":{"a b":"b"},"values":[]}]}"#, "no label can be named \"a b\""),
        (#"{"streams":[{"stream":{"a":1},"values":[]}]}"#, "a text in double quotes is missing"),
    ])
    func `a push that is wrong is refused`(text: String, message: String) {
        let error = #expect(throws: WireError.self) { try LokiPush.decode(json: Array(text.utf8)) }
        #expect(error?.description.hasSuffix(message) == true)
    }

    @Test func `no mutation of a push crashes`() throws {
        fuzz(push, rounds: 3_000) { _ = try LokiPush.decode(snappy: $0) }
        let plain = try Snappy.decode(push, limit: 10_000)
        fuzz(plain, rounds: 3_000) { _ = try LokiPush.decode(snappy: Snappy.encode($0)) }
        fuzz(Array(json.utf8), rounds: 3_000) { _ = try LokiPush.decode(json: $0) }
    }
}
