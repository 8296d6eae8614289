import Foundation
import Testing

@testable import Stats

/// Whether two numbers agree to a share of the larger, or to `absolute` near zero.
func isClose(_ a: Double, _ b: Double, relative: Double = 1e-9, absolute: Double = 1e-12) -> Bool {
    a == b || abs(a - b) <= max(absolute, relative * max(abs(a), abs(b)))
}

/// The seed of random tests: `VAGUS_TEST_SEED`, or one that is the same each time.
let testSeed = ProcessInfo.processInfo.environment["VAGUS_TEST_SEED"].flatMap(UInt64.init) ?? 20_261_123

/// Reference values of the workshop, where they are at hand.
enum Golden {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../../shared/data/golden").standardizedFileURL
    static let isPresent = FileManager.default.fileExists(atPath: folder.appending(path: "metrics.json").path)

    static func json<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: Data(contentsOf: folder.appending(path: name)))
    }

    /// The columns of a sample by name, empty cells left out.
    static func sample(_ name: String) throws -> [String: [String]] {
        let text = try String(contentsOf: folder.appending(path: "samples/\(name).csv"), encoding: .utf8)
        let lines = text.split(whereSeparator: \.isNewline).map { line in
            line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let header = try #require(lines.first)
        var columns: [String: [String]] = [:]
        for (index, name) in header.enumerated() {
            columns[name] = lines.dropFirst().compactMap { $0.count > index && !$0[index].isEmpty ? $0[index] : nil }
        }
        return columns
    }

    static func numbers(_ name: String) throws -> [String: [Double]] {
        try sample(name).mapValues { $0.compactMap(Double.init) }
    }
}
