import Foundation
import Series
import Testing

@testable import TSDB

/// A folder of one test; removed at its end.
final class Folder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "tsdb-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

extension TSDB {
    /// All samples of what matches, by labels.
    func all(
        _ matchers: [LabelMatcher] = [], from: Int64 = .min, to: Int64 = .max, resolution: Int64 = 0
    ) throws -> [Labels: SampleBuffer] {
        var selection = Selection(matchers, from: from, to: to)
        selection.resolution = resolution
        let set = try select(selection)
        var (all, buffer) = ([Labels: SampleBuffer](), SampleBuffer())
        var before: Labels?
        for index in 0..<set.count {
            try set.read(index, into: &buffer)
            #expect(before.map { $0 < set.labels(at: index) } ?? true)
            before = set.labels(at: index)
            if buffer.count > 0 { all[set.labels(at: index)] = buffer }
        }
        return all
    }
}

extension SampleBuffer: Equatable {
    /// Bit for bit.
    static func == (left: SampleBuffer, right: SampleBuffer) -> Bool {
        left.times == right.times && left.values.map(\.bitPattern) == right.values.map(\.bitPattern)
            && left.histograms == right.histograms && left.histogramAt == right.histogramAt
    }
}
