import Foundation

@testable import Frames

/// A folder of its own that goes away with the test.
final class Folder {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "frames-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }  // a folder that stays harms nobody

    func path(_ name: String) -> String { url.appending(path: name).path }

    func write(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: url.appending(path: name))
        return path(name)
    }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() } }
}

/// Reads CSV text.
func csv(_ text: String, _ schema: [ColumnSchema]? = nil, _ limits: CSVLimits = .standard) throws(FrameError)
    -> CSVResult
{
    try Frame.readCSV(bytes: Array(text.utf8), schema: schema, limits: limits)
}

/// Reads JSON Lines text.
func jsonLines(_ text: String, _ schema: [ColumnSchema]? = nil, _ limits: CSVLimits = .standard) throws(FrameError)
    -> CSVResult
{
    try Frame.readJSONLines(bytes: Array(text.utf8), schema: schema, limits: limits)
}

/// The error that a piece of work throws, or nil.
func failure(_ work: () throws -> Void) -> FrameError? {
    do {
        try work()
        return nil
    } catch {
        return error as? FrameError
    }
}

extension Column {
    var texts: [String?] { (0..<count).map(text) }
}

/// A table with every type and a gap in each column.
func mixedFrame() throws -> Frame {
    try Frame([
        (ColumnSchema("id", .int), .ints([1, nil, .min, .max])),
        (ColumnSchema("x", .float), .floats([0.1, -2.5e300, nil, 1e-7])),
        (ColumnSchema("ok", .bool), .bools([true, nil, false, true])),
        (ColumnSchema("kind", .category), .categories(["b", "a", nil, "b"])),
        (ColumnSchema("note", .string), .strings(["say \"hi\"", "", "a,b\r\nç", nil])),
        (ColumnSchema("at", .timestamp), .timestamps([0, -1, nil, 1_700_000_000_123_456])),
    ])
}
