import API
import Glibc
import SQL

/// The predictions of one window, column by column.
struct WindowTable: Sendable {
    struct Column: Sendable {
        /// NaN where missing; empty when nobody asked for numbers.
        var numbers: [Double] = []
        /// Positions in `levels`, -1 where missing; empty when nobody asked for levels.
        var codes: [Int32] = []
        var levels: [String] = []
        /// Rows that have a value.
        var present = 0
    }

    var scores: [Double] = []
    /// NaN where there is none yet.
    var labels: [Double] = []
    /// Those of the wanted columns that some row has, by name.
    var columns: [String: Column] = [:]

    /// Rows of one window that are analysed: the earliest.
    static let rowLimit = 1_000_000

    static func read(
        _ window: Window, of service: Reference<ServiceKind>, wanted: [Wanted], in sql: Connection
    ) throws -> WindowTable {
        let reader = Reader(wanted)
        try sql.eachPrediction(in: window, of: service, limit: rowLimit) { score, label, features in
            reader.add(score: score, label: label, features: features)
        }
        return reader.table
    }

    /// A column, and how it is to be read.
    struct Wanted: Sendable {
        var name: String
        var asNumber: Bool
        var asLevel: Bool
    }

    private final class Sink {
        let asNumber: Bool
        let asLevel: Bool
        var column = Column()
        var codes: [String: Int32] = [:]
        /// Row of the last value, so that a key written twice counts once.
        var rows = 0
        var isSeen = false

        init(_ wanted: Wanted) { (asNumber, asLevel) = (wanted.asNumber, wanted.asLevel) }

        func add(number: Double, level: String?) {
            rows += 1
            if asNumber { column.numbers.append(number) }
            if asLevel { column.codes.append(level.map(code) ?? -1) }
        }

        private func code(_ level: String) -> Int32 {
            if let code = codes[level] { return code }
            let code = Int32(column.levels.count)
            codes[level] = code
            column.levels.append(level)
            return code
        }
    }

    private final class Reader {
        var table: WindowTable {
            var table = WindowTable(scores: scores, labels: labels)
            for (name, sink) in sinks where sink.isSeen { table.columns[name] = sink.column }
            return table
        }
        private var scores: [Double] = []
        private var labels: [Double] = []
        private let sinks: [String: Sink]
        private let all: [Sink]
        /// Rows spell their keys in one order, most of the time: where each place's key leads.
        private var places: [(key: [UInt8], sink: Sink?)] = []

        init(_ wanted: [Wanted]) {
            sinks = Dictionary(wanted.map { ($0.name, Sink($0)) }, uniquingKeysWith: { first, _ in first })
            all = Array(sinks.values)
        }

        func add(score: Double, label: Double?, features: String) {
            var features = features
            features.withUTF8 { bytes in
                guard let base = bytes.baseAddress else { return }
                scan(JSONScan(base, bytes.count))
            }
            scores.append(score)
            labels.append(label ?? .nan)
            for sink in all where sink.rows < scores.count { sink.add(number: .nan, level: nil) }
        }

        private func scan(_ start: JSONScan) {
            var scan = start
            guard scan.enter() else { return }
            var isFirst = true
            var place = 0
            while let key = scan.nextKey(&isFirst), let value = scan.scalar() {
                if let sink = sink(key, at: place, scan), sink.rows == scores.count { put(value, scan, into: sink) }
                place += 1
            }
        }

        private func sink(_ key: JSONScan.Text, at place: Int, _ scan: JSONScan) -> Sink? {
            let length = key.to - key.from
            if place < places.count, places[place].key.count == length,
                memcmp(places[place].key, scan.start + key.from, length) == 0
            {
                return places[place].sink
            }
            let sink = scan.string(key).flatMap { sinks[$0] }
            let entry = (key: Array(UnsafeBufferPointer(start: scan.start + key.from, count: length)), sink: sink)
            if place < places.count {
                places[place] = entry
            } else if place == places.count {
                places.append(entry)
            }
            return sink
        }

        private func put(_ value: JSONScan.Scalar, _ scan: JSONScan, into sink: Sink) {
            sink.isSeen = true
            switch value {
            case .null: return sink.add(number: .nan, level: nil)
            case .number(let number):
                sink.add(number: number, level: sink.asLevel ? Level.text(number) : nil)
            case .yes: sink.add(number: 1, level: "true")
            case .no: sink.add(number: 0, level: "false")
            case .text(let text):
                let string = scan.string(text)
                let number = sink.asNumber ? string.flatMap(Double.init) ?? .nan : .nan
                sink.add(number: number, level: string)
            }
        }
    }
}
