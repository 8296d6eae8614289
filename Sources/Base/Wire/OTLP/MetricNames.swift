/// Prometheus's names for OpenTelemetry's metrics and attributes (strategy `UnderscoreEscapingWithSuffixes`, the
/// default of Prometheus 3; OpenTelemetry's specification, "Prometheus and OpenMetrics compatibility").
package enum MetricNames {
    /// Units of UCUM as words.
    private static let units = [
        "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
        "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
        "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
        "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
        "Hz": "hertz", "1": "", "%": "percent",
    ]
    private static let perUnits = [
        "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
    ]

    /// The name of a metric: its words joined by underscores, then its unit, then `total` or `ratio`.
    ///
    /// - Returns: Empty when nothing of the name is left.
    package static func metric(_ name: String, unit: String, isCounter: Bool, isGauge: Bool) -> String {
        var words = words(name)
        guard !words.isEmpty else { return "" }
        let (main, per) = suffixes(unit)
        if !main.isEmpty, !words.contains(main) { words.append(main) }
        if !per.isEmpty, !words.contains(per) { words.append(per) }
        if isCounter { words = words.filter { $0 != "total" } + ["total"] }
        // The unit "1" tells a ratio of gauges only: many counters of things bear it, too.
        if unit == "1", isGauge { words = words.filter { $0 != "ratio" } + ["ratio"] }
        let joined = words.joined(separator: "_")
        return joined.utf8.first.map(isDigit) ?? false ? "_" + joined : joined
    }

    /// The name of a label; `key_` is put before a digit and `key` before a single underscore.
    package static func label(_ key: String) -> String {
        var name: [UInt8] = []
        // One underscore for a character, whatever its bytes.
        for scalar in key.unicodeScalars {
            let byte = scalar.isASCII ? UInt8(scalar.value) : 0
            name.append(isLetter(byte) || isDigit(byte) ? byte : UInt8(ascii: "_"))
        }
        let text = String(decoding: name, as: UTF8.self)
        if name.first.map(isDigit) ?? false { return "key_" + text }
        return name.first == UInt8(ascii: "_") && !text.hasPrefix("__") ? "key" + text : text
    }

    /// Runs of letters, digits and colons.
    private static func words(_ text: String) -> [String] {
        text.unicodeScalars.split { scalar in
            let byte = scalar.isASCII ? UInt8(scalar.value) : 0
            return !(isLetter(byte) || isDigit(byte) || byte == UInt8(ascii: ":"))
        }.map { String($0) }
    }

    /// `m/s` gives `meters` and `per_second`; what stands in braces is a remark and gives nothing.
    private static func suffixes(_ unit: String) -> (main: String, per: String) {
        let parts = unit.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        func known(_ part: String, _ table: [String: String]) -> String {
            part.contains { $0 == "{" || $0 == "}" } ? "" : words(table[part] ?? part).joined(separator: "_")
        }
        let main = parts.first.map { known($0, units) } ?? ""
        let per = parts.count > 1 ? known(parts[1], perUnits) : ""
        return (main, per.isEmpty ? "" : "per_" + per)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private static func isLetter(_ byte: UInt8) -> Bool {
        byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z")
    }
}
