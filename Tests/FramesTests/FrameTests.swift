import Testing

@testable import Frames

struct FrameTests {
    @Test func `columns of other lengths, names twice and wrong types are refused`() {
        let a = (ColumnSchema("a", .int), Column.ints([1, 2]))
        #expect(failure { _ = try Frame([a, (ColumnSchema("b", .int), .ints([1]))]) }?.code == .lengthMismatch)
        #expect(failure { _ = try Frame([a, a]) }?.code == .duplicateColumn)
        #expect(failure { _ = try Frame([(ColumnSchema("a", .float), .ints([1]))]) }?.code == .typeMismatch)
    }

    @Test func `an unknown column is met with the name that was meant`() throws {
        let frame = try mixedFrame()
        #expect(frame["nope"] == nil)
        let error = failure { _ = try frame.column("knid") }
        #expect(error?.code == .unknownColumn && error?.hint == "Did you mean \"kind\"?")
        #expect(failure { _ = try frame.select(["id", "Kind"]) }?.hint == "Did you mean \"kind\"?")
        #expect(failure { _ = try frame.groups(of: "qqqqq") }?.hint.hasPrefix("The columns are \"id\", \"x\"") == true)
    }

    @Test func `values read as numbers and texts, and missing ones as neither`() throws {
        let frame = try mixedFrame()
        let numbers: [(String, Int, Double)] = [("id", 0, 1), ("x", 0, 0.1), ("ok", 0, 1), ("ok", 2, 0), ("at", 1, -1)]
        for (name, row, value) in numbers { #expect(try frame.column(name).double(row) == value) }
        for (name, row) in [("id", 1), ("x", 2), ("ok", 1), ("kind", 2), ("note", 3), ("at", 2)] {
            let column = try frame.column(name)
            #expect(column.isMissing(row) && column.double(row).isNaN && column.text(row) == nil)
            #expect(column.missingCount == 1 && column.count == 4)
        }
        #expect(try frame.column("kind").double(0).isNaN)
        #expect(Column.categories(["2.5", "x", nil]).doubles.map { $0.isNaN ? -1 : $0 } == [2.5, -1, -1])
        #expect(Column.strings(["3", ""]).double(0) == 3)
        #expect(try frame.column("x").text(3) == "1e-07")
    }

    @Test func `missing equals missing`() throws {
        let frame = try mixedFrame()
        #expect(frame == frame.take([0, 1, 2, 3]))
        #expect(Column.floats([.nan, 1]) == .floats([nil, 1]))
        #expect(Column.floats([nil]) != .floats([0]))
        #expect(Column.int([5], missing: Bitmap([true])) == .ints([nil]))
        #expect(Column.ints([0]) != .ints([nil]))
        for type in ColumnType.allCases { #expect(Column.missing(type, count: 3).missingCount == 3) }
    }

    @Test func `rows are taken in the order asked for, twice if asked`() throws {
        let taken = try mixedFrame().take([3, 1, 3])
        #expect(taken["id"] == .ints([.max, nil, .max]))
        #expect(taken["note"] == .strings([nil, "", nil]))
        #expect(taken["kind"] == .categories(["b", "a", "b"]))
        #expect(taken["ok"] == .bools([true, nil, true]))
        #expect(try mixedFrame().take([]).rowCount == 0)
        let ids = try mixedFrame().column("id")
        #expect(try mixedFrame().filter { ids.isMissing($0) }.rowCount == 1)
        #expect(try mixedFrame().head(2).rowCount == 2 && mixedFrame().head(99).rowCount == 4)
    }

    @Test func `columns are added, replaced, renamed and dropped`() throws {
        let frame = try mixedFrame().select(["id", "x"]).appending("y", .bools([true, true, nil, false]))
        #expect(frame.names == ["id", "x", "y"] && frame.type(of: "y") == .bool)
        let replaced = try frame.replacing("id", with: .strings(["a", "b", "c", "d"]))
        #expect(replaced.schema.first == ColumnSchema("id", .string))
        #expect(failure { _ = try frame.replacing("id", with: .ints([1])) }?.code == .lengthMismatch)
        #expect(failure { _ = try frame.appending("x", .ints([1, 2, 3, 4])) }?.code == .duplicateColumn)
        #expect(try frame.renaming("x", to: "z").names == ["id", "z", "y"])
        #expect(try frame.dropping(["x"]).names == ["id", "y"])
        #expect(try Frame([]).appending("a", .ints([1, 2])).rowCount == 2)
    }

    @Test func `groups are ordered by value and leave missing ones out`() throws {
        let frame = try mixedFrame()
        let kinds = try frame.groups(of: "kind")
        #expect(kinds.map(\.key) == ["a", "b"])
        #expect(kinds.map(\.rows) == [[1], [0, 3]])
        #expect(try frame.groups(of: "ok").map(\.key) == ["false", "true"])
    }

    @Test func `a join pairs all rows with the same key`() throws {
        let left = try Frame([
            (ColumnSchema("k", .category), .categories(["a", "b", nil, "c", "a"])),
            (ColumnSchema("v", .int), .ints([1, 2, 3, 4, 5])),
        ])
        let right = try Frame([
            (ColumnSchema("v", .float), .floats([10, 20, 30, 40])),
            (ColumnSchema("k", .string), .strings(["c", "a", "a", nil])),
        ])
        let joined = try left.join(right, on: "k")
        #expect(joined.names == ["k", "v", "v_right"])
        #expect(joined["v"] == .ints([1, 1, 4, 5, 5]))
        #expect(joined["v_right"] == .floats([20, 30, 10, 20, 30]))
        let ints = try Frame([(ColumnSchema("k", .int), .ints([1, 2, nil]))])
        #expect(try ints.join(ints, on: "k").rowCount == 2)
        #expect(failure { _ = try left.join(ints, on: "k") }?.code == .typeMismatch)
        #expect(failure { _ = try left.join(right, on: "v") }?.code == .typeMismatch)
    }

    @Test func `a split by seed is the same on every machine and loses no row`() throws {
        let frame = try Frame([(ColumnSchema("id", .int), .ints((0..<1_000).map { Int64($0) }))])
        let (train, test) = try frame.split(test: 0.25, seed: 42)
        #expect(train.rowCount == 750 && test.rowCount == 250)
        let all = train.columns[0].doubles + test.columns[0].doubles
        #expect(all.sorted() == (0..<1_000).map(Double.init))
        #expect(train.columns[0].doubles == train.columns[0].doubles.sorted())
        #expect(try frame.split(test: 0.25, seed: 42).test == test)
        #expect(try frame.split(test: 0.25, seed: 43).test != test)
        #expect(Array(test.columns[0].doubles.prefix(8)) == [5, 11, 12, 20, 26, 27, 33, 43])
        #expect(try frame.split(test: 0, seed: 1).train == frame)
        #expect(try frame.split(test: 1, seed: 1).test == frame)
        for share in [-0.1, 1.1, Double.nan] {
            #expect(failure { _ = try frame.split(test: share, seed: 1) }?.code == .invalidArgument)
        }
    }

    @Test func `a split by value sends its rows to the test`() throws {
        let (train, test) = try mixedFrame().split(column: "kind", test: "b")
        #expect(test["id"] == .ints([1, .max]))
        #expect(train["id"] == .ints([nil, .min]))
    }

    @Test func `tables of one schema go below each other`() throws {
        let frame = try mixedFrame()
        let whole = try Frame.concatenate([frame.take([0, 1]), frame.take([]), frame.take([2, 3])])
        #expect(whole == frame)
        #expect(whole.digest == frame.digest)
        #expect(failure { _ = try Frame.concatenate([frame, frame.dropping(["x"])]) }?.code == .typeMismatch)
        #expect(failure { _ = try Frame.concatenate([]) }?.code == .invalidArgument)
    }

    @Test func `bitmaps forget what is cut off`() {
        var bits = Bitmap()
        for row in [3, 64, 130] { bits.insert(row) }
        #expect(bits.population == 3 && bits[64] && !bits[65] && !bits[10_000])
        bits.truncate(to: 130)
        #expect(!bits[130] && bits[64])
        bits.truncate(to: 64)
        #expect(bits == Bitmap([false, false, false, true]))
        bits.truncate(to: 0)
        #expect(bits.isEmpty)
    }
}
