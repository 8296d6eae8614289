#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The name of a series: pairs of label name and value, sorted by name, each name once, no value empty.
///
/// Kept as one run of bytes (`length name length value …`, lengths as LEB128), so that a hundred thousand of them are a
/// hundred thousand allocations and two are compared by one `memcmp`. Names and values are UTF-8.
package struct Labels: Hashable, Sendable {
    /// The encoded pairs. Equal labels have equal bytes.
    package let bytes: [UInt8]

    /// No labels at all.
    package static let none = Labels(encoded: [])

    /// Takes bytes that this type wrote: sorted, no name twice, no empty value.
    package init(encoded bytes: [UInt8]) { self.bytes = bytes }

    /// Sorts the pairs; the last of two with one name wins; a pair without a value is left out, as Prometheus does.
    package init(_ pairs: [(name: String, value: String)]) {
        var last: [String: String] = [:]
        for pair in pairs { last[pair.name] = pair.value }
        var writer = LabelsWriter()
        for name in last.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            if let value = last[name], !value.isEmpty { writer.add(name, value) }
        }
        self.bytes = writer.bytes
    }

    /// Labels from a literal-like dictionary, for tests and fixed names.
    package init(_ pairs: [String: String]) {
        self.init(pairs.map { (name: $0.key, value: $0.value) })
    }

    package var isEmpty: Bool { bytes.isEmpty }

    /// The value of a label; nil when the series has no such label.
    package subscript(name: String) -> String? {
        var wanted = name
        return wanted.withUTF8 { wanted in
            bytes.withUnsafeBufferPointer { all in
                var cursor = LabelCursor(all)
                while let pair = cursor.next() {
                    switch compareBytes(pair.name, wanted) {
                    case 0: return String(decoding: pair.value, as: UTF8.self)
                    case let order where order > 0: return nil
                    default: continue
                    }
                }
                return nil
            }
        }
    }

    /// The metric's name: the value of `__name__`.
    package var metricName: String? { self[Self.metricNameLabel] }
    package static let metricNameLabel = "__name__"

    /// All pairs, sorted by name.
    package var pairs: [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        forEach { pairs.append((String(decoding: $0, as: UTF8.self), String(decoding: $1, as: UTF8.self))) }
        return pairs
    }

    /// Calls the body with the bytes of each name and value, sorted by name.
    package func forEach(
        _ body: (_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) throws -> Void
    ) rethrows {
        try bytes.withUnsafeBufferPointer { all in
            var cursor = LabelCursor(all)
            while let pair = cursor.next() { try body(pair.name, pair.value) }
        }
    }

    /// Only the labels that are named, or all but those.
    ///
    /// - Complexity: O(labels × log names); `names` must be sorted by their UTF-8 bytes.
    package func filtered(isKept: (UnsafeBufferPointer<UInt8>) -> Bool) -> Labels {
        var writer = LabelsWriter()
        forEach { name, value in
            if isKept(name) { writer.add(name, value) }
        }
        return Labels(encoded: writer.bytes)
    }

    /// Without `__name__`: what an operation that changes a value's meaning leaves.
    package var withoutMetricName: Labels {
        let name = Self.metricNameLabel
        return filtered { bytes in !bytes.elementsEqual(name.utf8) }
    }

    /// The same with one label set; an empty or absent value takes it away.
    package func with(_ name: String, _ value: String?) -> Labels {
        var all = pairs.filter { $0.name != name }
        if let value { all.append((name, value)) }
        return Labels(all)
    }

    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension Labels: Comparable {
    /// By name, then value, pair after pair; the shorter one first (the order of Prometheus's `labels.Compare`).
    package static func < (left: Labels, right: Labels) -> Bool {
        left.bytes.withUnsafeBufferPointer { one in
            right.bytes.withUnsafeBufferPointer { two in
                var (a, b) = (LabelCursor(one), LabelCursor(two))
                while true {
                    guard let pair = a.next() else { return b.next() != nil }
                    guard let other = b.next() else { return false }
                    let names = compareBytes(pair.name, other.name)
                    if names != 0 { return names < 0 }
                    let values = compareBytes(pair.value, other.value)
                    if values != 0 { return values < 0 }
                }
            }
        }
    }
}

extension Labels: CustomStringConvertible {
    /// As PromQL writes it: `up{job="api"}`.
    package var description: String {
        let inner = pairs.filter { $0.name != Self.metricNameLabel }
            .map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ", ")
        return inner.isEmpty ? (metricName ?? "{}") : "\(metricName ?? ""){\(inner)}"
    }

    static func escaped(_ value: String) -> String {
        var text = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}

/// Writes labels pair by pair. The caller adds them sorted by name, each name once, no empty value.
package struct LabelsWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func add(_ name: String, _ value: String) {
        var (name, value) = (name, value)
        name.withUTF8 { name in value.withUTF8 { add(name, $0) } }
    }

    package mutating func add(_ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) {
        bytes.reserveCapacity(bytes.count + name.count + value.count + 4)
        append(name)
        append(value)
    }

    private mutating func append(_ text: UnsafeBufferPointer<UInt8>) {
        var length = text.count
        while length >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        bytes.append(UInt8(length))
        bytes.append(contentsOf: text)
    }
}

/// Walks encoded labels.
package struct LabelCursor {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0

    package init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// The next pair; nil at the end.
    package mutating func next() -> (name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>)? {
        guard position < bytes.count else { return nil }
        let name = text()
        return (name, text())
    }

    private mutating func text() -> UnsafeBufferPointer<UInt8> {
        var (length, shift) = (0, 0)
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            length |= Int(byte & 0x7f) << shift
            shift += 7
            if byte < 0x80 { break }
        }
        let end = min(position + length, bytes.count)
        defer { position = end }
        return UnsafeBufferPointer(rebasing: bytes[position..<end])
    }
}

/// Negative, zero or positive, as `memcmp`; the shorter first when one begins with the other.
package func compareBytes(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Int {
    if let one = left.baseAddress, let two = right.baseAddress {
        let order = Int(memcmp(one, two, min(left.count, right.count)))
        if order != 0 { return order }
    }
    return left.count - right.count
}
