/// Numbers with units, as labels and queries write them.
enum Quantities {
    /// Nanoseconds of `1h30m`, `250ms`, `1.5s`, `-2m`, also of days, weeks and years; nil for anything else.
    static func duration(_ text: String) -> Double? {
        parts(
            text,
            [
                "ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3_600e9, "d": 86_400e9,
                "w": 604_800e9,
                "y": 31_536_000e9,
            ])
    }

    /// Bytes of `5KB` (1,000), `5KiB` (1,024), `42B`, `1.5 GB`; letters in either case.
    static func bytes(_ text: String) -> Double? {
        let scales: [String: Double] = [
            "": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15, "k": 1e3, "m": 1e6, "g": 1e9,
            "t": 1e12, "p": 1e15,
            "kib": 0x1p10, "mib": 0x1p20, "gib": 0x1p30, "tib": 0x1p40, "pib": 0x1p50, "ki": 0x1p10, "mi": 0x1p20,
            "gi": 0x1p30,
        ]
        let lower = text.lowercased()
        let digits = lower.prefix { ("0"..."9").contains($0) || $0 == "." || $0 == "," }
        let unit = lower[digits.endIndex...].filter { $0 != " " }
        guard let value = Double(digits.filter { $0 != "," }), let scale = scales[String(unit)] else { return nil }
        return value * scale
    }

    private static func parts(_ text: String, _ units: [String: Double]) -> Double? {
        var rest = text[...]
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest = rest.dropFirst() }
        if rest == "0" { return 0 }
        guard !rest.isEmpty else { return nil }
        var total = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { ("0"..."9").contains($0) || $0 == "." }
            rest = rest[digits.endIndex...]
            let unit = rest.prefix { !("0"..."9").contains($0) && $0 != "." }
            rest = rest[unit.endIndex...]
            guard let value = Double(digits), let scale = units[String(unit)] else { return nil }
            total += value * scale
        }
        return isNegative ? -total : total
    }
}
