internal import Series

/// Writes metrics as text for `/metrics`: Prometheus 0.0.4, or OpenMetrics 1.0 where the asker takes it.
///
/// Families one after the other, each family's samples together; ``finish()`` at the end.
package struct ExpositionWriter {
    private let isOpenMetrics: Bool
    private var out: [UInt8] = []
    private var family = ""
    private var kind = MetricMetadata.Kind.unknown

    /// Takes the format out of an `Accept` header.
    package init(accept: String) { self.init(isOpenMetrics: accept.contains("application/openmetrics-text")) }

    package init(isOpenMetrics: Bool) { self.isOpenMetrics = isOpenMetrics }

    package var contentType: String { (isOpenMetrics ? Exposition.openMetrics : .text).contentType }

    /// Begins a family.
    ///
    /// - Parameter name: Without `_total`, also of a counter.
    package mutating func begin(_ name: String, _ kind: MetricMetadata.Kind, help: String, unit: String = "") {
        family = name
        self.kind = kind
        // The old text names a counter by its samples, OpenMetrics by its family.
        let told = isOpenMetrics || kind != .counter ? name : name + "_total"
        if !help.isEmpty { line("# HELP \(told) \(Self.escaped(help, quotes: isOpenMetrics))") }
        line("# TYPE \(told) \(typeName)")
        if isOpenMetrics, !unit.isEmpty { line("# UNIT \(told) \(unit)") }
    }

    /// The old text knows five types.
    private var typeName: String {
        if isOpenMetrics { return kind.name }
        return switch kind {
        case .unknown: "untyped"
        case .info, .stateSet, .gaugeHistogram: "gauge"
        default: kind.name
        }
    }

    /// One number of the family begun; of a counter its `_total`.
    package mutating func sample(_ labels: [(String, String)], _ value: Double, exemplar: Exemplar? = nil) {
        write(kind == .counter ? "_total" : kind == .info ? "_info" : "", labels, value, exemplar)
    }

    /// A histogram of the family begun.
    ///
    /// - Parameters:
    ///   - bounds: Upper bounds, ascending, without +Inf.
    ///   - counts: Of each bucket alone, one more than bounds.
    package mutating func histogram(_ labels: [(String, String)], bounds: [Double], counts: [UInt64], sum: Double) {
        precondition(counts.count == bounds.count + 1, "a histogram has one bucket more than bounds")
        var total: UInt64 = 0
        for (bound, count) in zip(bounds + [.infinity], counts) {
            total += count
            let text = isOpenMetrics ? GoFloat.openMetrics(bound) : GoFloat.general(bound)
            write("_bucket", labels + [("le", text)], Double(total), nil)
        }
        write("_sum", labels, sum, nil)
        write("_count", labels, Double(total), nil)
    }

    /// The whole text.
    package mutating func finish() -> [UInt8] {
        if isOpenMetrics { line("# EOF") }
        return out
    }

    private mutating func write(_ suffix: String, _ labels: [(String, String)], _ value: Double, _ exemplar: Exemplar?)
    {
        add(family)
        add(suffix)
        if !labels.isEmpty { set(labels) }
        add(" ")
        add(GoFloat.general(value))
        if isOpenMetrics, let exemplar {
            add(" # ")
            set(exemplar.labels.pairs.map { ($0.name, $0.value) })
            add(" \(GoFloat.general(exemplar.value))")
            if let time = exemplar.time { add(" \(GoFloat.plain(Double(time) / 1_000))") }
        }
        add("\n")
    }

    private mutating func line(_ text: String) {
        add(text)
        add("\n")
    }

    private mutating func add(_ text: String) { out.append(contentsOf: text.utf8) }

    private mutating func set(_ labels: [(String, String)]) {
        add("{")
        for (place, label) in labels.enumerated() {
            if place > 0 { add(",") }
            add(label.0)
            add("=\"")
            add(Self.escaped(label.1, quotes: true))
            add("\"")
        }
        add("}")
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        // Nearly all are plain, and of thousands of series each costs what its bytes cost.
        let isPlain = text.utf8.allSatisfy {
            $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "\n") && !(quotes && $0 == UInt8(ascii: "\""))
        }
        if isPlain { return text }
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\"" where quotes: out += "\\\""
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
