import Testing

@testable import Frames

struct JSONLinesTests {
    @Test func `keys become columns in the order in which they come`() throws {
        let frame = try jsonLines(
            """
            {"id": 1, "x": 1.5, "ok": true, "kind": "a"}

              {"kind":"b","id":2,"late":"12","x":null}
            {}
            """
        ).frame
        #expect(
            frame.schema == [
                ColumnSchema("id", .int), ColumnSchema("x", .float), ColumnSchema("ok", .bool),
                ColumnSchema("kind", .category), ColumnSchema("late", .category),
            ])
        #expect(frame.rowCount == 3)
        #expect(frame["id"] == .ints([1, 2, nil]))
        #expect(frame["x"] == .floats([1.5, nil, nil]))
        #expect(frame["late"] == .categories([nil, "12", nil]))
    }

    @Test func `a schema chooses keys, and one that no line has is missing`() throws {
        let schema = [ColumnSchema("b", .float), ColumnSchema("never", .string), ColumnSchema("a", .string)]
        let frame = try jsonLines("{\"a\":1,\"b\":\"2.5\"}\n{\"b\":3,\"c\":{}}\n{\"b\":4}\n", schema)
        #expect(frame.frame["b"] == .floats([2.5, 4]))
        #expect(frame.frame["a"] == .strings(["1", nil]))
        #expect(frame.frame["never"]?.missingCount == 2)
        #expect(frame.rejected.map(\.row) == [2])
    }

    @Test func `escapes are read, and wrong ones put aside`() throws {
        let schema = [ColumnSchema("a\"b", .string)]
        let text = #"""
            {"a\"b":"tab\t, \u00e9, \ud83d\ude00, \\ \/"}
            {"a\"b":"\ud83d alone"}
            {"a\"b":"\x"}
            """#
        let result = try jsonLines(text, schema)
        #expect(result.frame["a\"b"]?.texts == ["tab\t, é, 😀, \\ /"])
        #expect(result.rejected.map(\.row) == [2, 3])
    }

    @Test(arguments: [
        "[1]", "{\"a\":1", "{\"a\" 1}", "{\"a\":1,}", "{\"a\":1} x", "{\"a\":1,\"a\":2}", "{\"a\":[1]}", "{\"a\":01}",
        "{\"a\":+1}", "{\"a\":nope}", "{\"a\":\"open}", "nonsense", "{a:1}", "\"text\"",
    ])
    func `a line that is no plain object is put aside`(line: String) throws {
        let result = try jsonLines("{\"a\":7}\n\(line)\n{\"a\":8}\n", [ColumnSchema("a", .int)])
        #expect(result.frame["a"] == .ints([7, 8]))
        #expect(result.rejected.map(\.row) == [2])
        #expect(result.rejected.first?.reason.isEmpty == false)
    }

    @Test func `limits hold`() {
        var limits = CSVLimits.standard
        limits.columns = 2
        #expect(failure { _ = try jsonLines("{\"a\":1,\"b\":2,\"c\":3}\n", nil, limits) }?.code == .limitExceeded)
        limits.lineBytes = 10
        #expect(failure { _ = try jsonLines("{\"a\":123456789}\n", nil, limits) }?.code == .limitExceeded)
        #expect(failure { _ = try jsonLines("") }?.code == .emptyFile)
    }
}
