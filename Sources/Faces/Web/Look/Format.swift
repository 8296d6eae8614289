/// How numbers, sizes, durations and moments are written for people: UTC throughout.
enum Format {
    /// "12s", "3m 04s", "1h 07m", "2d 3h"; below ten seconds with a decimal, below one in milliseconds.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite else { return "–" }
        let value = max(0, seconds)
        if value == 0 { return "0s" }
        if value < 0.00995 { return "\(fixed(value * 1000, 1)) ms" }
        if value < 0.9995 { return "\(Int((value * 1000).rounded())) ms" }
        if value < 9.95 { return "\(fixed(value, 1))s" }
        let whole = Int(value.rounded(.down))
        if whole < 60 { return "\(whole)s" }
        if whole < 3600 { return "\(whole / 60)m \(two(whole % 60))s" }
        if whole < 86_400 { return "\(whole / 3600)h \(two(whole % 3600 / 60))m" }
        return "\(whole / 86_400)d \(whole % 86_400 / 3600)h"
    }

    /// "just now", "4 min ago", "3 h ago", "12 d ago", "in 5 min".
    static func ago(_ seconds: Double) -> String {
        guard seconds.isFinite else { return "–" }
        if seconds < -10 { return "in \(coarse(-seconds))" }
        if seconds < 10 { return "just now" }
        return "\(coarse(seconds)) ago"
    }

    private static func coarse(_ seconds: Double) -> String {
        let whole = Int(min(seconds, 1e12))
        if whole < 60 { return "\(whole)s" }
        if whole < 3600 { return "\(whole / 60) min" }
        if whole < 86_400 { return "\(whole / 3600) h" }
        return "\(whole / 86_400) d"
    }

    /// "68,785".
    static func count(_ value: Int) -> String {
        let digits = String(value.magnitude)
        var result = ""
        for (offset, digit) in digits.enumerated() {
            if offset > 0, (digits.count - offset) % 3 == 0 { result += "," }
            result.append(digit)
        }
        return value < 0 ? "−\(result)" : result
    }

    /// A number with a fixed count of decimals; "–" for what is not finite.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "–" }
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let scaled = (abs(value) * scale).rounded()
        guard scaled < 9e15 else { return "\(value)" }
        let whole = Int64(scaled)
        let sign = value < 0 && whole != 0 ? "−" : ""
        guard decimals > 0 else { return sign + count(Int(whole)) }
        let fraction = String(whole % Int64(scale))
        let padded = String(repeating: "0", count: decimals - fraction.count) + fraction
        return "\(sign)\(count(Int(whole / Int64(scale)))).\(padded)"
    }

    /// A measurement to about four figures: "0.7312", "12.4", "1,204", "3.1e−7".
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value > 0 ? "∞" : "−∞" }
        let size = abs(value)
        if size == 0 { return "0" }
        if size >= 1e12 || size < 0.0001 { return scientific(value) }
        if value == value.rounded(), size < 1e9 { return count(Int(value)) }
        if size >= 1000 { return fixed(value, 0) }
        return fixed(value, size >= 100 ? 1 : size >= 10 ? 2 : 4)
    }

    /// A number without the zeros at its end, for limits that people wrote: "0.1", "0.05".
    static func plain(_ value: Double) -> String {
        var text = number(value)
        guard text.contains("."), !text.contains("e") else { return text }
        while text.last == "0" { text.removeLast() }
        return text.last == "." ? String(text.dropLast()) : text
    }

    private static func scientific(_ value: Double) -> String {
        var exponent = 0
        var mantissa = abs(value)
        while mantissa >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
        while mantissa < 1, exponent > -400 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
        let sign = value < 0 ? "−" : ""
        return "\(sign)\(fixed(mantissa, 1))e\(exponent < 0 ? "−" : "")\(exponent.magnitude)"
    }

    /// "950", "12k", "3.4M", "1.2G", "7T": for axes.
    static func short(_ value: Double) -> String {
        guard value.isFinite else { return number(value) }
        var (size, unit) = (abs(value), 0)
        let units = ["", "k", "M", "G", "T", "P", "E"]
        while size >= 1000, unit < units.count - 1 { (size, unit) = (size / 1000, unit + 1) }
        let text = size == size.rounded() ? fixed(size, 0) : fixed(size, size < 10 ? 1 : 0)
        return (value < 0 ? "−" : "") + text + units[unit]
    }

    /// "512 B", "1.4 MB": powers of 1000, as disks and networks are sold.
    static func bytes(_ value: Int) -> String {
        var size = Double(value)
        var unit = 0
        let units = ["B", "kB", "MB", "GB", "TB", "PB"]
        while size >= 1000, unit < units.count - 1 { (size, unit) = (size / 1000, unit + 1) }
        return unit == 0 ? "\(value) B" : "\(fixed(size, size < 10 ? 1 : 0)) \(units[unit])"
    }

    /// "512Mi", "23.5Gi": powers of 1024, as manifests ask for memory.
    static func memory(_ bytes: Int64) -> String {
        let (size, unit) = bytes < 1 << 30 ? (Double(bytes) / 1_048_576, "Mi") : (Double(bytes) / 1_073_741_824, "Gi")
        return fixed(size, size == size.rounded() ? 0 : 1) + unit
    }

    /// A share of 1 as per cent: "12.4 %".
    static func percent(_ share: Double) -> String {
        guard share.isFinite else { return "–" }
        let value = share * 100
        if value == value.rounded() { return "\(fixed(value, 0)) %" }
        return "\(fixed(value, abs(value) < 0.1 ? 4 : abs(value) < 10 ? 2 : 1)) %"
    }

    /// "3 runs", "1 run".
    static func plural(_ count: Int, _ noun: String, _ many: String? = nil) -> String {
        "\(self.count(count)) \(count == 1 ? noun : many ?? noun + "s")"
    }

    /// The first characters of a digest or commit, without its "sha256:".
    static func short(_ digest: String, _ length: Int = 8) -> String {
        let plain = digest.split(separator: ":").last.map(String.init) ?? digest
        return String(plain.prefix(length))
    }

    /// Cuts a text in the middle of nowhere and says so with an ellipsis.
    static func clipped(_ text: String, _ length: Int) -> String {
        text.count <= length ? text : String(text.prefix(max(1, length - 1))) + "…"
    }

    static func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
