internal import Series

/// Reads Prometheus text 0.0.4 and OpenMetrics 1.0, line by line, names in quotes (Prometheus 3) as well.
///
/// As Prometheus 3 does, the values of `le` and `quantile` are brought into one spelling (`1` becomes `1.0`), so that a
/// target that changes its format keeps its series.
struct ExpositionTextParser {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private let isOpenMetrics: Bool
    private let time: Int64
    private var line = 1
    private var labels = LabelCollector()
    private var scratch: [UInt8] = []
    private var families: [String: Int] = [:]
    /// Of the last `# TYPE` line.
    private var kind = MetricMetadata.Kind.unknown

    init(_ bytes: UnsafeBufferPointer<UInt8>, isOpenMetrics: Bool, time: Int64) {
        self.bytes = bytes
        self.isOpenMetrics = isOpenMetrics
        self.time = time
    }

    mutating func parse(into batch: inout WriteBatch) throws {
        while position < bytes.count {
            skipSpace()
            switch byte {
            case nil: break
            case newLine: if isOpenMetrics { throw wrong("OpenMetrics has no empty lines") }
            case UInt8(ascii: "#"):
                if try comment(into: &batch) {
                    guard position == bytes.count else { throw wrong("text goes on after # EOF") }
                    return
                }
            default: try sample(into: &batch)
            }
            try endLine()
        }
        if isOpenMetrics { throw wrong("# EOF is missing at the end") }
    }

    // MARK: - Comments

    /// Reads `# HELP`, `# TYPE`, `# UNIT`; true at `# EOF`.
    private mutating func comment(into batch: inout WriteBatch) throws -> Bool {
        position += 1
        skipSpace()
        let word = word()
        if isOpenMetrics, equal(word, "EOF") {
            if byte == newLine { position += 1 }
            return true
        }
        let (isHelp, isType, isUnit) = (equal(word, "HELP"), equal(word, "TYPE"), isOpenMetrics && equal(word, "UNIT"))
        guard isHelp || isType || isUnit else {
            if isOpenMetrics { throw wrong("OpenMetrics knows HELP, TYPE, UNIT and EOF after #") }
            position = lineEnd
            return false
        }
        skipSpace()
        let family = try familyName()
        skipSpace()
        let rest = UnsafeBufferPointer(rebasing: bytes[position..<lineEnd])
        guard isValidUTF8(rest) else { throw WireError(.invalidText, "line \(line): a comment is not UTF-8") }
        position = lineEnd
        let index = metadataIndex(of: family, in: &batch)
        if isHelp {
            batch.metadata[index].help = unescaped(rest)
        } else if isType {
            kind = try self.kind(rest)
            batch.metadata[index].kind = kind
        } else {
            let unit = String(decoding: rest, as: UTF8.self)
            guard unit.isEmpty || family.hasSuffix("_" + unit) else {
                throw wrong("the metric \"\(family)\" does not end in its unit, \"\(unit)\"")
            }
            batch.metadata[index].unit = unit
        }
        return false
    }

    private mutating func familyName() throws -> String {
        if byte == UInt8(ascii: "\"") {
            try quoted()
            return String(decoding: scratch, as: UTF8.self)
        }
        let name = word()
        guard !name.isEmpty, name.allSatisfy({ isNameByte($0) || $0 == UInt8(ascii: ":") }) else {
            throw wrong("a metric's name is missing")
        }
        return String(decoding: name, as: UTF8.self)
    }

    private func kind(_ text: UnsafeBufferPointer<UInt8>) throws -> MetricMetadata.Kind {
        let name = String(decoding: text, as: UTF8.self).filter { $0 != " " && $0 != "\t" && $0 != "\r" }
        if name == "untyped" { return .unknown }
        guard let kind = MetricMetadata.Kind(name: name) else { throw wrong("no metric has the type \"\(name)\"") }
        return kind
    }

    private mutating func metadataIndex(of family: String, in batch: inout WriteBatch) -> Int {
        if let known = families[family] { return known }
        families[family] = batch.metadata.count
        batch.metadata.append(MetricMetadata(family: family))
        return batch.metadata.count - 1
    }

    private func unescaped(_ text: UnsafeBufferPointer<UInt8>) -> String {
        guard text.contains(UInt8(ascii: "\\")) else { return String(decoding: text, as: UTF8.self) }
        var (out, index): ([UInt8], Int) = ([], 0)
        while index < text.count {
            let next = index + 1 < text.count ? text[index + 1] : 0
            switch (text[index], next) {
            case (UInt8(ascii: "\\"), UInt8(ascii: "n")): out.append(newLine)
            case (UInt8(ascii: "\\"), UInt8(ascii: "\\")), (UInt8(ascii: "\\"), UInt8(ascii: "\"")): out.append(next)
            default:
                out.append(text[index])
                index -= 1
            }
            index += 2
        }
        return String(decoding: out, as: UTF8.self)
    }

    // MARK: - Samples

    private mutating func sample(into batch: inout WriteBatch) throws {
        var begun = batch.beginSeries()
        labels.removeAll()
        var hasName = false
        if byte != UInt8(ascii: "{") {
            let start = position
            while let byte, isNameByte(byte) || byte == UInt8(ascii: ":") { position += 1 }
            guard position > start, !isDigit(bytes[start]) else { throw wrong("a metric's name is missing") }
            try addName(UnsafeBufferPointer(rebasing: bytes[start..<position]))
            hasName = true
            skipSpace()
        }
        if byte == UInt8(ascii: "{") { try labelSet(hasName: &hasName) }
        guard hasName else { throw wrong("a sample has no name") }
        try named { try $0.labels.write(to: &batch.labelBytes) }
        skipSpace()
        let value = try number("a sample's value")
        skipSpace()
        var sampleTime = time
        if let byte, byte != newLine, byte != carriageReturn, byte != UInt8(ascii: "#") {
            sampleTime = try timestamp()
            begun.hasOwnTime = true
            skipSpace()
        }
        batch.append(sampleTime, value)
        if isOpenMetrics, byte == UInt8(ascii: "#") { batch.exemplars.append(try exemplar()) }
        batch.endSeries(begun)
    }

    private mutating func addName(_ name: UnsafeBufferPointer<UInt8>) throws {
        var label = Labels.metricNameLabel
        try label.withUTF8 { try labels.add($0, name) }
    }

    /// `{name="value",…}`, where a text in quotes without a value is the metric's name.
    private mutating func labelSet(hasName: inout Bool) throws {
        position += 1
        while true {
            skipSpace()
            if byte == UInt8(ascii: "}") {
                position += 1
                return
            }
            if byte == UInt8(ascii: "\"") {
                try quoted()
                let name = scratch
                skipSpace()
                if byte == UInt8(ascii: "=") {
                    try name.withUnsafeBufferPointer { try labelValue(of: $0) }
                } else {
                    guard !hasName else { throw wrong("a sample has two names") }
                    hasName = true
                    try name.withUnsafeBufferPointer { try addName($0) }
                }
            } else {
                let start = position
                while let byte, isNameByte(byte) { position += 1 }
                guard position > start, !isDigit(bytes[start]) else { throw wrong("a label's name is missing") }
                let name = UnsafeBufferPointer(rebasing: bytes[start..<position])
                skipSpace()
                try labelValue(of: name)
            }
            skipSpace()
            switch byte {
            case UInt8(ascii: ","): position += 1
            case UInt8(ascii: "}"): continue
            default: throw wrong("a comma or } is missing after a label")
            }
        }
    }

    private mutating func labelValue(of name: UnsafeBufferPointer<UInt8>) throws {
        guard byte == UInt8(ascii: "=") else { throw wrong("a label's name is not followed by =") }
        guard !name.isEmpty else { throw wrong("a label's name is empty") }
        position += 1
        skipSpace()
        guard byte == UInt8(ascii: "\"") else { throw wrong("a label's value is not in double quotes") }
        try quoted()
        let isNumber =
            kind == .histogram || kind == .gaugeHistogram
            ? equal(name, "le") : kind == .summary && equal(name, "quantile")
        if isNumber, let value = scratch.withUnsafeBufferPointer({ GoFloat.parse($0) }) {
            scratch = Array(GoFloat.openMetrics(value).utf8)
        }
        let value = scratch
        try named { parser in try parser.labels.add(name: name) { $0.append(contentsOf: value) } }
    }

    /// Puts the content of a text in double quotes, its escapes undone, into `scratch`.
    private mutating func quoted() throws {
        scratch.removeAll(keepingCapacity: true)
        position += 1
        let start = position
        while position < bytes.count {
            let next = bytes[position]
            if next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\") || next == newLine { break }
            position += 1
        }
        let head = UnsafeBufferPointer(rebasing: bytes[start..<position])
        guard isValidUTF8(head) else { throw WireError(.invalidText, "line \(line): a label is not UTF-8") }
        scratch.append(contentsOf: head)
        while let next = byte {
            position += 1
            switch next {
            case UInt8(ascii: "\""): return
            case newLine: throw wrong("a text in quotes does not end")
            case UInt8(ascii: "\\"):
                guard let escaped = byte else { break }
                position += 1
                switch escaped {
                case UInt8(ascii: "n"): scratch.append(newLine)
                case UInt8(ascii: "\\"), UInt8(ascii: "\""): scratch.append(escaped)
                default: throw wrong("a text in quotes has an escape that does not exist")
                }
            default:
                let start = position - 1
                while let next = byte, next != UInt8(ascii: "\""), next != UInt8(ascii: "\\"), next != newLine {
                    position += 1
                }
                let part = UnsafeBufferPointer(rebasing: bytes[start..<position])
                guard isValidUTF8(part) else { throw WireError(.invalidText, "line \(line): a label is not UTF-8") }
                scratch.append(contentsOf: part)
            }
        }
        throw wrong("a text in quotes does not end")
    }

    private mutating func exemplar() throws -> Exemplar {
        position += 1
        skipSpace()
        guard byte == UInt8(ascii: "{") else { throw wrong("an exemplar does not begin with labels") }
        labels.removeAll()
        // A text without a value would be a name, which an exemplar has not.
        var hasName = true
        try labelSet(hasName: &hasName)
        var encoded: [UInt8] = []
        try named { try $0.labels.write(to: &encoded) }
        skipSpace()
        var exemplar = Exemplar(labels: Labels(encoded: encoded), value: try number("an exemplar's value"), time: nil)
        skipSpace()
        if let byte, byte != newLine, byte != carriageReturn { exemplar.time = try timestamp() }
        return exemplar
    }

    private mutating func number(_ what: String) throws -> Double {
        let text = word()
        guard let value = GoFloat.parse(text) else {
            throw wrong("\(what) is no number: \"\(String(decoding: text.prefix(40), as: UTF8.self))\"")
        }
        return value
    }

    /// Milliseconds in the old text, seconds in OpenMetrics.
    private mutating func timestamp() throws -> Int64 {
        let text = word()
        if isOpenMetrics {
            if let seconds = GoFloat.parse(text), let time = Int64(exactly: (seconds * 1_000).rounded()) { return time }
        } else if let time = Int64(String(decoding: text, as: UTF8.self)) {
            return time
        }
        throw wrong("a timestamp is no number: \"\(String(decoding: text.prefix(40), as: UTF8.self))\"")
    }

    // MARK: - Bytes

    private let newLine = UInt8(ascii: "\n")
    private let carriageReturn = UInt8(ascii: "\r")

    private var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

    private var lineEnd: Int {
        var end = position
        while end < bytes.count, bytes[end] != newLine { end += 1 }
        return end
    }

    private mutating func skipSpace() {
        while let byte, byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") { position += 1 }
    }

    private mutating func word() -> UnsafeBufferPointer<UInt8> {
        let start = position
        while let byte, byte != UInt8(ascii: " "), byte != UInt8(ascii: "\t"), byte != newLine, byte != carriageReturn {
            position += 1
        }
        return UnsafeBufferPointer(rebasing: bytes[start..<position])
    }

    private mutating func endLine() throws {
        skipSpace()
        if byte == carriageReturn { position += 1 }
        guard let byte else { return }
        guard byte == newLine else { throw wrong("text goes on after the sample") }
        position += 1
        line += 1
    }

    private func isNameByte(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z")) || isDigit(byte)
            || byte == UInt8(ascii: "_")
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private func equal(_ text: UnsafeBufferPointer<UInt8>, _ word: StaticString) -> Bool {
        text.count == word.utf8CodeUnitCount && (0..<text.count).allSatisfy { text[$0] == word.utf8Start[$0] }
    }

    private func wrong(_ what: String) -> WireError { .malformed("line \(line): \(what)") }

    /// Puts the line's number before what the labels complain of.
    private mutating func named(_ body: (inout Self) throws -> Void) throws {
        do {
            try body(&self)
        } catch let error as WireError {
            if error.description.hasPrefix("line ") { throw error }
            throw WireError(error.code, "line \(line): \(error.description)")
        }
    }
}
