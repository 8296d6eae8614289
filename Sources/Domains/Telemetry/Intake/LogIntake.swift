import API
import Kernel
import LogStore
import Manifests
import Segments
import Series

/// Lines of one stream on their way in.
struct IncomingStream: Sendable {
    struct Entry: Sendable {
        /// Nanoseconds since 1970.
        var time: Int64
        var line: String
        var metadata: [(name: String, value: String)] = []
    }

    var labels: Labels
    var entries: [Entry]
}

/// Brings lines in, from whichever door: finds their level, drops levels that are not kept, stores the rest, and sends it on.
struct LogIntake {
    let house: TelemetryHouse

    /// Blocks.
    ///
    /// - Throws: `StorageError` when nothing could be written.
    func take(_ streams: [IncomingStream]) throws -> LogReceipt {
        let plan = house.plan
        let reader = LineReader(formats: plan.formats)
        var pages: [(labels: Labels, page: LogPage)] = []
        var kept: [IncomingStream] = []
        var dropped = 0
        let hasExports = !plan.destinations.isEmpty
        for stream in streams {
            var page = LogPage()
            var entries: [IncomingStream.Entry] = []
            let streamLevel = LineReader.level(of: stream.labels)
            for var entry in stream.entries {
                let level = reader.complete(&entry, streamLevel: streamLevel)
                if let level, let wanted = plan.levels, !wanted.contains(level) {
                    dropped += 1
                    continue
                }
                page.add(entry.time, entry.line, metadata: entry.metadata.isEmpty ? .none : Labels(entry.metadata))
                if hasExports { entries.append(entry) }
            }
            if !page.isEmpty { pages.append((stream.labels, page)) }
            if !entries.isEmpty { kept.append(IncomingStream(labels: stream.labels, entries: entries)) }
        }
        house.drops.add("logs: level is not kept", dropped)
        if hasExports { house.exports.offer(kept, house.drops) }
        // Without lines the store takes none, and says so.
        let receipt = try house.logs.append(plan.keepsLogs ? pages : [], now: house.nanoseconds)
        for refusal in receipt.refusals { house.drops.add("logs: \(refusal.reason.rawValue)", refusal.entries) }
        house.context.instruments.count("vagus_telemetry_lines_total", by: Double(receipt.accepted))
        return receipt
    }
}

/// Finds the level and the trace of a line that was sent without them, in the formats that are looked for.
struct LineReader: Sendable {
    let formats: Set<LogFormat>
    /// Bytes of a line that are looked at.
    private static let depth = 2_000

    static let levelNames = ["level", "severity", "detected_level", "severity_text", "lvl", "loglevel"]

    /// The level that a stream's labels tell for all of its lines.
    static func level(of labels: Labels) -> LogLevelWord? {
        for name in ["level", "severity", "detected_level"] {
            if let value = labels[name] { return word(value) }
        }
        return nil
    }

    /// Adds `detected_level` and `trace_id` to what is known of an entry.
    ///
    /// - Returns: The entry's level, if any is known.
    func complete(_ entry: inout IncomingStream.Entry, streamLevel: LogLevelWord?) -> LogLevelWord? {
        var level = streamLevel
        var (isToldLevel, hasTrace) = (streamLevel != nil, false)
        for pair in entry.metadata {
            if Self.levelNames.contains(pair.name) {
                level = Self.word(pair.value) ?? level
                isToldLevel = isToldLevel || pair.name == "detected_level"
            }
            if pair.name == "trace_id" { hasTrace = true }
        }
        if level == nil || !hasTrace {
            var line = entry.line
            let found = line.withUTF8 { scan(UnsafeBufferPointer(rebasing: $0.prefix(Self.depth))) }
            level = level ?? found.level
            if !hasTrace, let trace = found.trace { entry.metadata.append(("trace_id", trace)) }
        }
        if !isToldLevel, let level { entry.metadata.append(("detected_level", level.rawValue)) }
        return level
    }

    private typealias Found = (level: LogLevelWord?, trace: String?)

    private func scan(_ line: UnsafeBufferPointer<UInt8>) -> Found {
        guard let first = line.first(where: { $0 != 0x20 }) else { return (nil, nil) }
        if first == UInt8(ascii: "{") {
            guard formats.contains(.json) else { return (nil, nil) }
            return (
                ["\"level\"", "\"severity\"", "\"lvl\""].lazy.compactMap { Self.jsonText(after: $0, in: line) }.first
                    .flatMap(Self.word),
                ["\"trace_id\"", "\"traceId\"", "\"traceID\""].lazy.compactMap { Self.jsonText(after: $0, in: line) }
                    .first
                    .flatMap(Self.trace)
            )
        }
        var found: Found = (nil, nil)
        if formats.contains(.logfmt) {
            found.level = ["level=", "lvl=", "severity="].lazy.compactMap { Self.value(after: $0, in: line) }.first
                .flatMap(Self.word)
            found.trace = ["trace_id=", "traceID=", "traceId="].lazy.compactMap { Self.value(after: $0, in: line) }
                .first
                .flatMap(Self.trace)
        }
        if found.level == nil, formats.contains(.plain) { found.level = Self.plainLevel(line) }
        return found
    }

    /// What stands for a level in words that programs use.
    static func word(_ text: String) -> LogLevelWord? {
        switch text.lowercased() {
        case "trace", "trc", "verbose", "finest": .trace
        case "debug", "dbg", "fine": .debug
        case "info", "inf", "information", "informational", "notice": .info
        case "warn", "warning", "wrn": .warning
        case "error", "err", "eror": .error
        case "fatal", "critical", "crit", "panic", "alert", "emerg", "emergency": .fatal
        default: nil
        }
    }

    private static func trace(_ text: String) -> String? {
        let isTrace =
            (16...32).contains(text.utf8.count) && text.utf8.allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
        return isTrace ? text.lowercased() : nil
    }

    /// A short text value after a key of JSON.
    private static func jsonText(after key: String, in line: UnsafeBufferPointer<UInt8>) -> String? {
        guard var place = find(key, in: line) else { return nil }
        while place < line.count, line[place] == 0x20 || line[place] == UInt8(ascii: ":") { place += 1 }
        guard place < line.count, line[place] == UInt8(ascii: "\"") else { return nil }
        let rest = line[(place + 1)...].prefix(64)
        guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
        return String(decoding: rest[..<end], as: UTF8.self)
    }

    /// The value after `key=`, where the key begins a word.
    private static func value(after key: String, in line: UnsafeBufferPointer<UInt8>) -> String? {
        guard let place = find(key, in: line) else { return nil }
        let start = place - key.utf8.count
        guard start == 0 || line[start - 1] == 0x20 || line[start - 1] == 0x09 else { return nil }
        let rest = line[place...].prefix(64).drop { $0 == UInt8(ascii: "\"") }
        return String(decoding: rest.prefix { $0 != 0x20 && $0 != UInt8(ascii: "\"") }, as: UTF8.self)
    }

    /// Where a text ends in a line.
    private static func find(_ text: String, in line: UnsafeBufferPointer<UInt8>) -> Int? {
        var text = text
        return text.withUTF8 { text in
            guard let first = text.first, line.count >= text.count else { return nil }
            for start in 0...(line.count - text.count) where line[start] == first {
                if (1..<text.count).allSatisfy({ line[start + $0] == text[$0] }) { return start + text.count }
            }
            return nil
        }
    }

    /// A level that stands among the first words: `[ERROR]`, `2026-11-26 ERROR`, `W1126`.
    private static func plainLevel(_ line: UnsafeBufferPointer<UInt8>) -> LogLevelWord? {
        var (word, words) = ([UInt8](), 0)
        for byte in line.prefix(100) {
            if (0x41...0x5A).contains(byte & 0xDF) {
                word.append(byte)
                if word.count > 13 { word = [0] }
                continue
            }
            if word.count > 2, let level = Self.word(String(decoding: word, as: UTF8.self)) { return level }
            if !word.isEmpty { words += 1 }
            if words > 6 { return nil }
            word = []
        }
        return word.count > 2 ? Self.word(String(decoding: word, as: UTF8.self)) : nil
    }
}
