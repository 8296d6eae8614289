import API
import Manifests
import Testing

@testable import Experiments

@Suite struct SchemaTests {
    private static func schema(_ inputs: [ModelColumn], _ outputs: [ModelColumn] = []) -> ModelSchema {
        var schema = ModelSchema()
        (schema.inputs, schema.outputs) = (inputs, outputs)
        return schema
    }

    private static let x = ModelColumn("x", "double")
    private static let old = schema([x], [ModelColumn("y", "double")])

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let new: ModelSchema
        let backward: Bool
        let full: Bool
        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "the same", new: old, backward: true, full: true),
        Case(
            name: "a new required input", new: schema([x, ModelColumn("z", "long")], old.outputs), backward: false,
            full: false),
        Case(
            name: "a new optional input", new: schema([x, ModelColumn("z", "long", isRequired: false)], old.outputs),
            backward: true, full: true),
        Case(
            name: "an input that may be left out now",
            new: schema([ModelColumn("x", "double", isRequired: false)], old.outputs),
            backward: true, full: false),
        Case(
            name: "a narrower input", new: schema([ModelColumn("x", "integer")], old.outputs), backward: false,
            full: false),
        Case(
            name: "a text for a number", new: schema([ModelColumn("x", "string")], old.outputs), backward: false,
            full: false),
        Case(
            name: "an output more", new: schema([x], old.outputs + [ModelColumn("p", "double")]), backward: true,
            full: false),
        Case(name: "an output gone", new: schema([x], [ModelColumn("p", "double")]), backward: false, full: false),
        Case(name: "a narrower output", new: schema([x], [ModelColumn("y", "float")]), backward: true, full: false),
        Case(name: "a wider output", new: schema([x], [ModelColumn("y", "string")]), backward: false, full: false),
        Case(name: "nothing told", new: ModelSchema(), backward: false, full: false),
    ]

    @Test(arguments: cases)
    func `what callers may rely on`(given: Case) {
        #expect(SchemaChange.breaks(from: Self.old, to: given.new, .backward).isEmpty == given.backward)
        #expect(SchemaChange.breaks(from: Self.old, to: given.new, .full).isEmpty == given.full)
        #expect(SchemaChange.breaks(from: Self.old, to: given.new, .none).isEmpty)
    }

    @Test(arguments: [
        ("boolean", "integer"), ("integer", "long"), ("integer", "double"), ("float", "double"), ("boolean", "double"),
    ])
    func `a type that loses nothing is taken`(narrow: String, wide: String) {
        #expect(SchemaChange.accepts(wide, narrow))
        #expect(!SchemaChange.accepts(narrow, wide))
    }

    @Test func `long is no double: not all of it fits`() {
        #expect(!SchemaChange.accepts("double", "long"))
    }

    @Test func `a tensor of any rows takes one of some`() {
        let any = Self.schema([ModelColumn("", "float", shape: [-1, 3])])
        let some = Self.schema([ModelColumn("", "float", shape: [8, 3])])
        #expect(SchemaChange.breaks(from: some, to: any).isEmpty)
        #expect(!SchemaChange.breaks(from: any, to: some).isEmpty)
    }

    @Test func `signatures of three dialects say the same`() throws {
        let mlflow = try JSONParser.parse(
            """
            {"inputs": "[{\\"type\\": \\"double\\", \\"name\\": \\"x\\", \\"required\\": true}]",
             "outputs": "[{\\"type\\": \\"tensor\\", \\"tensor-spec\\": {\\"dtype\\": \\"int64\\", \\"shape\\": [-1]}}]"}
            """)
        #expect(
            SchemaReading.schema(of: mlflow) == Self.schema([Self.x], [ModelColumn("", "long", shape: [-1])]))
        let own: JSONValue = [
            "inputs": [["name": "x", "type": "double"]], "output": ["name": "p", "datatype": "FP32", "size": 3],
        ]
        #expect(
            SchemaReading.schema(of: own) == Self.schema([Self.x], [ModelColumn("p", "float", shape: [-1, 3])]))
        let open: JSONValue = ["inputs": [["name": "x", "datatype": "FP64", "shape": [-1, 4]]]]
        #expect(SchemaReading.schema(of: open).inputs == [ModelColumn("x", "double", shape: [-1, 4])])
        #expect(SchemaReading.schema(of: ["inputs": "not json"]).isEmpty)
    }

    @Test(
        arguments: [
            (#"{"columns": ["x"], "data": [[1.5], [2]]}"#, nil),
            (#"{"columns": ["z"], "data": [[1.5]]}"#, "row 0 of the sample has no \"x\""),
            (#"[{"x": 1}, {"x": "a"}]"#, "\"x\" in row 1 of the sample is text, not double"),
            (#"{"inputs": {"x": [1, 2]}}"#, nil),
            (#"{"dataframe_split": {"columns": ["x"], "data": [[1]]}}"#, nil),
            ("[]", "the sample has no rows"),
        ] as [(String, String?)])
    func `rows are held against the signature`(text: String, problem: String?) throws {
        #expect(SampleCheck.problem(try JSONParser.parse(text), Self.old) == problem)
    }

    @Test func `semantic labels count what changed`() {
        let more = Self.schema([Self.x, ModelColumn("z", "long", isRequired: false)], Self.old.outputs)
        func next(_ last: (String, ModelSchema)?, _ schema: ModelSchema, _ taken: Set<String> = []) -> String? {
            VersionLabel.next(
                .semantic, after: last.map { ($0.0, $0.1) }, schema: schema, taken: taken, now: .zero)
        }
        #expect(next(nil, Self.old) == "1.0.0")
        #expect(next(("1.0.0", Self.old), Self.old) == "1.0.1")
        #expect(next(("1.0.1", Self.old), more) == "1.1.0")
        #expect(next(("1.1.0", more), Self.schema([ModelColumn("x", "string")])) == "2.0.0")
        #expect(next(("1.0.0", Self.old), Self.old, ["1.0.1"]) == "1.0.2")
    }

    @Test func `calendar labels are dates, and count within a day`() {
        let day = Timestamp(microseconds: Timestamp.days(2026, 11, 26) * 86_400_000_000 + 5)
        func next(_ taken: Set<String>) -> String? {
            VersionLabel.next(.calendar, after: nil, schema: ModelSchema(), taken: taken, now: day)
        }
        #expect(next([]) == "2026.11.26")
        #expect(next(["2026.11.26"]) == "2026.11.26.2")
        #expect(next(["2026.11.26", "2026.11.26.2"]) == "2026.11.26.3")
    }
}
