import Testing

@testable import Frames

struct CSVTests {
    @Test func `types are told from all cells`() throws {
        let frame = try csv(
            """
            n,x,b,c,code,big,gap
            1,1.5,true,red,007,12345678901234567890123,
            -2,2,FALSE,blue,012,1,
            ,NA,true,red,100,2,NaN
            """
        ).frame
        #expect(frame.schema.map(\.type) == [.int, .float, .bool, .category, .category, .category, .float])
        #expect(frame["n"] == .ints([1, -2, nil]))
        #expect(frame["x"] == .floats([1.5, 2, nil]))
        #expect(frame["b"] == .bools([true, false, true]))
        #expect(frame["c"] == .categories(["red", "blue", "red"]))
        #expect(frame["code"]?.texts == ["007", "012", "100"])
        #expect(frame["gap"]?.missingCount == 3)
    }

    @Test func `a cell at the very end decides the type too`() throws {
        let rows = (0..<5_000).map { "\($0),text \($0)" }.joined(separator: "\n")
        let frame = try csv("a,b\n" + rows + "\n1.5,end\n").frame
        #expect(frame.schema.map(\.type) == [.float, .string])
        #expect(frame.rowCount == 5_001)
    }

    @Test func `quotes keep commas, quotes and line ends, as RFC 4180 says`() throws {
        let frame = try csv(
            "a,\"b \"\"x\"\"\"\r\n\"1,2\",\"say \"\"hi\"\"\"\r\n\"two\r\nlines\",un\"quoted\r\n\"\",\"\"\r\n"
        ).frame
        #expect(frame.names == ["a", "b \"x\""])
        #expect(frame["a"]?.texts == ["1,2", "two\r\nlines", ""])
        #expect(frame["b \"x\""]?.texts == ["say \"hi\"", "un\"quoted", ""])
    }

    @Test(arguments: [
        "\u{FEFF}a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\n1,2", "a,b\n\n1,2\n\n", " a ,b\n 1 , 2 \n", "a,b\r\n1,2\r",
    ])
    func `marks, line ends, blank lines and blanks around numbers do not matter`(text: String) throws {
        let result = try csv(text)
        #expect(result.frame.schema == [ColumnSchema("a", .int), ColumnSchema("b", .int)])
        #expect(result.frame["a"] == .ints([1]) && result.frame["b"] == .ints([2]))
        #expect(result.rejected.isEmpty && result.rowsRead == 1)
    }

    @Test func `a blank line in a table of one column is a missing value`() throws {
        #expect(try csv("a\n1\n\n3\n").frame["a"] == .ints([1, nil, 3]))
    }

    @Test func `rows that do not fit go aside with row, column, value and reason, and leave no trace`() throws {
        let schema = [
            ColumnSchema("id", .int), ColumnSchema("kind", .category), ColumnSchema("note", .string),
            ColumnSchema("ok", .bool), ColumnSchema("at", .timestamp), ColumnSchema("x", .float),
        ]
        let result = try csv(
            """
            id,kind,note,ok,at,x
            1,a,n1,true,2026-01-31,1.5
            2,only here,n2,maybe,2026-01-31,1.5
            3,b,n3,yes,2026-02-30,1.5
            4,b,n4,0,2026-01-31,inf
            5,b
            6.5,b,n6,1,2026-01-31,1
            7,b,n7,1,2026-01-31,1,8
            8,"b"x,n8,1,2026-01-31,1
            9,b,,,,
            """, schema)
        #expect(result.rejected.map(\.row) == [2, 3, 4, 5, 6, 7, 8])
        #expect(result.rejected.map(\.column) == ["ok", "at", "x", nil, "id", nil, nil])
        #expect(result.rejected.map(\.value).prefix(3) == ["maybe", "2026-02-30", "inf"])
        #expect(result.rejected[3].reason == "2 cells where the header has 6")
        #expect(result.rejected[5].reason == "7 cells where the header has 6")
        #expect(result.rejected[6].reason == "there is text behind a closing quote")
        #expect(result.rejectedCount == 7 && result.rowsRead == 9)
        #expect(result.frame.rowCount == 2)
        #expect(result.frame["id"] == .ints([1, 9]))
        #expect(result.frame["note"] == .strings(["n1", nil]))
        guard case .category(_, let levels) = result.frame["kind"] else { return #expect(Bool(false)) }
        #expect(levels == ["a", "b"])
    }

    @Test func `long values of rejected rows are cut and only so many are kept`() throws {
        var limits = CSVLimits.standard
        limits.rejectedKept = 2
        let rows = String(repeating: String(repeating: "z", count: 500) + "\n", count: 5)
        let result = try csv("a\n" + rows, [ColumnSchema("a", .int)], limits)
        #expect(result.rejected.count == 2 && result.rejectedCount == 5)
        #expect(result.rejected[0].value.utf8.count == RejectedRow.valueBytes)
        #expect(result.frame.rowCount == 0)
    }

    @Test func `a schema chooses columns and their order, and a slip is met with the right name`() throws {
        let text = "income,age,extra\n1,2,3\n"
        let result = try csv(text, [ColumnSchema("age", .float), ColumnSchema("income", .string)])
        #expect(result.frame.names == ["age", "income"])
        #expect(result.frame["income"]?.texts == ["1"])
        #expect(result.header == ["income", "age", "extra"])
        let error = failure { _ = try csv(text, [ColumnSchema("incme", .float)]) }
        #expect(error?.code == .unknownColumn)
        #expect(error?.message == "no column \"incme\"")
        #expect(error?.hint == "Did you mean \"income\"?")
        #expect(failure { _ = try csv(text, [ColumnSchema("zzz", .float)]) }?.hint.contains("\"extra\"") == true)
    }

    @Test(arguments: [
        ("", FrameError.Code.emptyFile), ("\u{FEFF}", .emptyFile), ("a,b,a\n1,2,3\n", .duplicateColumn),
        ("a,,c\n1,2,3\n", .malformedHeader), ("\"a,b\n1,2\n", .malformedHeader),
    ])
    func `a file without a usable header is one clear error`(text: String, code: FrameError.Code) {
        #expect(failure { _ = try csv(text) }?.code == code)
    }

    @Test func `a header alone is a table without rows`() throws {
        let result = try csv("a,b\n", [ColumnSchema("a", .int), ColumnSchema("b", .category)])
        #expect(result.frame.rowCount == 0 && result.frame.names == ["a", "b"])
        #expect(try csv("a,b").frame.rowCount == 0)
    }

    @Test func `limits hold at their edge`() throws {
        var limits = CSVLimits.standard
        limits.rows = 3
        #expect(try csv("a\n1\n2\n3\n", nil, limits).frame.rowCount == 3)
        #expect(failure { _ = try csv("a\n1\n2\n3\n4\n", nil, limits) }?.code == .limitExceeded)
        limits = .standard
        limits.columns = 2
        #expect(try csv("a,b\n1,2\n", nil, limits).frame.names.count == 2)
        #expect(failure { _ = try csv("a,b,c\n1,2,3\n", nil, limits) }?.code == .limitExceeded)
        limits = .standard
        limits.categoryLevels = 2
        let schema = [ColumnSchema("a", .category)]
        #expect(try csv("a\nx\ny\nx\n", schema, limits).frame.rowCount == 3)
        let error = failure { _ = try csv("a\nx\ny\nz\n", schema, limits) }
        #expect(error?.code == .limitExceeded && error?.hint == "Declare the column as string.")
        limits = .standard
        limits.lineBytes = 8
        #expect(try csv("a,b\n123,456\n", nil, limits).frame.rowCount == 1)
        let long = failure { _ = try csv("a,b\n1,2\n1234,5678\n", nil, limits) }
        #expect(long?.message == "row 2 of \"CSV text\" is longer than 8 bytes")
    }

    @Test func `a quote that is never closed is told and not read for ever`() throws {
        let result = try csv("a,b\n1,2\n3,\"open\n5,6\n", [ColumnSchema("a", .int), ColumnSchema("b", .string)])
        #expect(result.frame.rowCount == 1)
        #expect(result.rejected.map(\.reason) == ["a quote is not closed"])
        var limits = CSVLimits.standard
        limits.lineBytes = 1_000
        let text = "a,b\n3,\"open\n" + String(repeating: "5,6\n", count: 10_000)
        #expect(failure { _ = try csv(text, nil, limits) }?.code == .limitExceeded)
    }

    @Test func `text that is not UTF-8 is put aside`() throws {
        let bytes = Array("a,b\nx,1\n".utf8) + [0xFF, 0xFE] + Array(",2\n".utf8)
        for type in [ColumnType.string, .category] {
            let result = try Frame.readCSV(bytes: bytes, schema: [ColumnSchema("a", type), ColumnSchema("b", .int)])
            #expect(result.rejected.map(\.reason) == ["not valid UTF-8"])
            #expect(result.frame["b"] == .ints([1]))
        }
    }

    @Test func `records over the edge of the window are whole`() throws {
        let count = ByteSource.window / 30
        var text = "id,note\n"
        for row in 0..<count { text += "\(row),\"note \"\"\(row)\"\" \(String(repeating: "x", count: row % 90))\"\n" }
        #expect(text.utf8.count > 2 * ByteSource.window)
        let frame = try csv(text, [ColumnSchema("id", .int), ColumnSchema("note", .string)]).frame
        #expect(frame.rowCount == count)
        #expect((0..<count).allSatisfy { frame.columns[0].double($0) == Double($0) })
        #expect(frame["note"]?.text(count - 1)?.hasPrefix("note \"\(count - 1)\" ") == true)
    }

    @Test(arguments: [
        "0", "-0", "1", "0.1", "123456789.125", "1e22", "1e23", "-9007199254740993", "5e-324", "1.7976931348623157e308",
        "2.2250738585072011e-308", "0.000000000000000000000000000000123456789012345678",
        "123456789012345678901234567890",
        "3.14159265358979311599796346854", "1E+5", "+7.", ".5",
    ])
    func `numbers are the nearest double`(text: String) throws {
        let expected = try #require(Double(text.hasPrefix("+7") ? "7" : text.hasPrefix(".") ? "0" + text : text))
        let frame = try csv("x\n\(text)\n", [ColumnSchema("x", .float)]).frame
        #expect(frame["x"]?.double(0).bitPattern == expected.bitPattern)
    }

    @Test(arguments: ["1e999", "inf", "-Infinity", "0x10", "1.2.3", "1e", "--1", "1 2", "e5", ".", "1_000", "1,5"])
    func `what is no finite number is put aside`(text: String) throws {
        let result = try csv("x\n\"\(text)\"\n", [ColumnSchema("x", .float)])
        #expect(result.rejected.map(\.reason) == ["not a finite number"])
    }

    @Test func `whole numbers hold 64 bits and nothing more`() throws {
        let schema = [ColumnSchema("n", .int)]
        let text = "n\n9223372036854775807\n-9223372036854775808\n12.00\n1.5\n9223372036854775808\n1e3\n"
        let result = try csv(text, schema)
        #expect(result.frame["n"] == .ints([.max, .min, 12]))
        #expect(result.rejected.map(\.row) == [4, 5, 6])
    }

    @Test func `instants of all spellings are UTC`() throws {
        let text = """
            t
            1970-01-01
            2024-02-29T12:00:00Z
            2024-02-29 12:00:00.25+02:00
            1969-12-31T23:59:59.999999Z
            0001-01-01T00:00
            9999-12-31T23:59:59-0530
            """
        let column = try csv(text, [ColumnSchema("t", .timestamp)]).frame.column("t")
        let texts: [String?] = [
            "1970-01-01T00:00:00Z", "2024-02-29T12:00:00Z", "2024-02-29T10:00:00.250000Z",
            "1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z",
        ]
        #expect(Array(column.texts.prefix(5)) == texts)
        #expect(column.double(1) == 1_709_208_000_000_000)
        #expect(column.double(3) == -1)
        let bad = try csv(
            "t\n2023-02-29\n2024-13-01\n2024-1-1\n2024-01-01T25:00\nnow\n", [ColumnSchema("t", .timestamp)])
        #expect(bad.rejectedCount == 5)
    }

    @Test func `any date comes back as it was written`() throws {
        for day in stride(from: -719_162, through: 2_932_896, by: 97) {
            let text = Calendar.text(of: Int64(day) * 86_400_000_000)
            let back = Array(text.utf8).withUnsafeBufferPointer { bytes in
                bytes.baseAddress.flatMap { Calendar.microseconds($0, bytes.count) }
            }
            #expect(back == Int64(day) * 86_400_000_000)
        }
    }
}
