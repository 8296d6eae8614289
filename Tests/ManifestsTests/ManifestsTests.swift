import Testing

@testable import Manifests

private struct Probe: Manifest {
    var path = "/healthz"
    var failures = 3
    init() {}
    static let fields: [Field<Self>] = [
        .optional("path", \.path, "Path."), .optional("failures", \.failures, "Failures in a row.", in: 1...100),
    ]
}

private struct App: Manifest {
    enum Strategy: String, WireEnum { case rolling, blue_green }
    var command: [String] = []
    var replicas = 1
    var strategy = Strategy.rolling
    var probe: Probe?
    var wait = TimeSpan.seconds(5)
    init() {}
    static let fields: [Field<Self>] = [
        .required("command", \.command, "Program and arguments."),
        .optional("replicas", \.replicas, "Copies.", in: 0...100),
        .optional("strategy", \.strategy, "How."), .optional("probe", \.probe, "Health."),
        .optional("wait", \.wait, "Wait."),
    ]
}

@Suite struct ManifestsTests {
    @Test(arguments: [
        ("job", "jobs"), ("alias", "aliases"), ("analysis", "analyses"),
        ("column of the file", "columns of the file"),
    ])
    func `a hint speaks of several in the plural`(noun: String, many: String) {
        #expect(suggestion(for: "x", among: [], called: noun) == "There are no \(many) here.")
        #expect(suggestion(for: "x", among: ["first"], called: noun) == "The \(many) here are: first.")
    }

    @Test func `what is left out keeps its default and is not written`() throws {
        let app = try App(yaml: "command: [./app, --fast]\nprobe: { failures: 5 }")
        #expect(app.replicas == 1)
        #expect(app.probe?.path == "/healthz")
        #expect(app.json.text == #"{"command":["./app","--fast"],"probe":{"failures":5}}"#)
        #expect(try App(json: app.json, at: []) == app)
    }

    @Test(arguments: [
        ("comand: [x]", 1, 1, "Did you mean \"command\"?"),
        ("command: [x]\nreplicas: 1000", 2, 1, "Use a value from 0 to 100."),
        ("command: [x]\nprobe:\n  pth: /", 3, 3, "Did you mean \"path\"?"),
        ("command: [x]\nstrategy: blue_gren", 2, 1, "Did you mean \"blue_green\"?"),
        ("command: [x]\nwait: ten minutes", 2, 1, "Write it like 90s, 10m, 1h30m or 7d."),
        ("command: [x]\nreplicas: many", 2, 1, "It says: \"many\""),
    ])
    func `a slip is told with its line, its column and what to do`(yaml: String, line: Int, column: Int, hint: String)
        throws
    {
        let error = #expect(throws: ManifestError.self) { try App(yaml: yaml, file: "app.yaml") }
        #expect(error?.mark == Mark(line: line, column: column))
        #expect(error?.hint == hint)
    }

    @Test(arguments: ["command: [x", "a: 1\na: 2", "- [}", "x: *nowhere"])
    func `broken YAML is told with its line`(yaml: String) throws {
        let error = #expect(throws: ManifestError.self) { try App(yaml: yaml, file: "app.yaml") }
        #expect(error?.location?.hasPrefix("app.yaml") == true)
    }

    @Test func `YAML is read by the rules of version 1_2`() throws {
        let text = "a: yes\nb: on\nc: 0777\nd: 1e3\ne: ~\nf: 0x1F\ng: '5'\nh: 3.10\ni: true\n"
        let value = try #require(try YAML.documents(text).first?.value)
        #expect(value["a"] == "yes")
        #expect(value["b"] == "on")
        #expect(value["c"] == 777)
        #expect(value["d"] == 1000.0)
        #expect(value["e"] == .null)
        #expect(value["f"] == 31)
        #expect(value["g"] == "5")
        #expect(value["i"] == true)
    }

    @Test(arguments: ["kind: [", "a: 1\n---\nb: {", "a: \"open"])
    func `what breaks off is refused, not taken for the end`(text: String) {
        #expect(throws: ManifestError.self) { try YAML.documents(text) }
    }

    @Test(arguments: [
        ("a: &x { b: [1, two] }\nc: *x", #"{"a":{"b":[1,"two"]},"c":{"b":[1,"two"]}}"#),
        ("a: &x key\n*x : 1", #"{"a":"key","key":1}"#), ("a: &x 1\nb: &x 2\nc: *x", #"{"a":1,"b":2,"c":2}"#),
        ("&k a: 1\nb: *k", #"{"a":1,"b":"a"}"#), ("a: !!str word\nb: \"\\x41\\0\"", #"{"a":"word","b":"A\u0000"}"#),
        ("a: |\n  one\n  two\nb: >-\n  three\n  four", #"{"a":"one\ntwo\n","b":"three four"}"#),
    ])
    func `anchors, tags and blocks are read`(yaml: String, json: String) throws {
        // Compared as text, the order of the members too.
        if json.contains("\\u0000") {
            #expect(try YAML.documents(yaml).first?.value["b"]?.string == "A\0")
        } else {
            #expect(try YAML.documents(yaml).first?.value.text == json)
        }
    }

    @Test func `what an alias repeats is placed where it was written`() throws {
        let document = try #require(try YAML.documents("a: &x\n  b: 1\nc: *x\n", file: "f").first)
        #expect(document.placing(ManifestError(at: ["c", "b"], message: "")).mark == Mark(line: 2, column: 3))
        #expect(document.placing(ManifestError(at: ["c"], message: "")).mark == Mark(line: 3, column: 1))
        let twice = #expect(throws: ManifestError.self) { try YAML.documents("a: 1\nb: 2\na: 3") }
        #expect(twice?.mark == Mark(line: 3, column: 1))
        let nowhere = #expect(throws: ManifestError.self) { try YAML.documents("a: [1,\n  *none]") }
        #expect(nowhere?.mark == Mark(line: 2, column: 3))
        let strange = #expect(throws: ManifestError.self) { try YAML.documents("a: 1\nb: \u{1}") }
        #expect(strange?.mark == Mark(line: 2, column: 4))
    }

    @Test(arguments: ["[", "{a: ", "- "])
    func `a file that nests without end is refused`(opening: String) {
        let text = String(repeating: opening, count: 100_000)
        // By libyaml, which has a bound of its own for brackets, or by us.
        let error = #expect(throws: ManifestError.self) { try YAML.documents(text) }
        #expect(error?.mark?.line == 1)
    }

    @Test func `aliases cannot blow a small file up`() throws {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let items = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(items)]\n"
        }
        #expect(throws: ManifestError.self) { try YAML.documents(text) }
    }

    @Test(arguments: [
        #"{"a":[1,2.5,-3e2,true,false,null,"x\n\"é😀"],"b":{}}"#, "[]", #""\u00e9\ud83d\ude00""#, "-0.5",
        "9223372036854775807",
    ])
    func `JSON survives a round trip`(text: String) throws {
        let value = try JSONParser.parse(text)
        #expect(try JSONParser.parse(value.text) == value)
        #expect(try JSONParser.parse(value.prettyText) == value)
    }

    @Test(arguments: [
        "{", "[1,]", "01", "1.", "\"\u{01}\"", "{\"a\":1,\"a\":2}", "nul", "[1] 2", "\"\\ud800\"", "{a:1}", "",
    ])
    func `what is not JSON is refused with its place`(text: String) {
        let error = #expect(throws: ManifestError.self) { try JSONParser.parse(text) }
        #expect(error?.mark != nil)
    }

    @Test func `JSON that nests without end is refused`() {
        #expect(throws: ManifestError.self) { try JSONParser.parse(String(repeating: "[", count: 100_000)) }
    }

    @Test(arguments: [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("7d", 604_800), ("0s", 0)])
    func `durations read as people write them`(text: String, seconds: Double) throws {
        let span = try #require(TimeSpan(text))
        #expect(span.seconds == seconds)
        #expect(TimeSpan(span.description) == span)
    }

    @Test(arguments: ["", "10", "m", "10 m", "1x", "-5s"])
    func `what is no duration is refused`(text: String) { #expect(TimeSpan(text) == nil) }

    @Test(
        arguments: [
            ["kind": "Service", "n": 1], ["list": [["a": 1, "b": ["x", "y"]], [], [:]], "text": "two\nlines\n"],
            ["no": "yes", "colon": "a: b", "empty": "", "number": "12", "dash": "- x", "nil": .null],
        ] as [JSONValue])
    func `YAML that is written reads back the same`(value: JSONValue) throws {
        #expect(try YAML.documents(value.yaml).first?.value == value)
    }

    @Test func `equal values have equal canonical text whatever their order`() throws {
        let one = try JSONParser.parse(#"{"b":1,"a":{"d":2,"c":3}}"#)
        let two = try JSONParser.parse(#"{"a":{"c":3,"d":2},"b":1}"#)
        #expect(one.canonicalText == two.canonicalText)
    }
}
