import API

/// What a version is called beside its number; pure.
enum VersionLabel {
    /// - Parameters:
    ///   - last: Label and signature of the version before, if there is one.
    ///   - taken: Labels that are in use.
    /// - Returns: Nil when versions only have numbers.
    static func next(
        _ strategy: ModelSpec.Versioning, after last: (label: String?, schema: ModelSchema)?, schema: ModelSchema,
        taken: Set<String>, now: Timestamp
    ) -> String? {
        switch strategy {
        case .sequential: return nil
        case .semantic: return semantic(after: last, schema, taken)
        case .calendar:
            let date = Timestamp.civil(now.microseconds.dividingFloored(by: 86_400_000_000))
            let today = "\(date.year).\(twoDigits(date.month)).\(twoDigits(date.day))"
            if !taken.contains(today) { return today }
            var count = 2
            while taken.contains("\(today).\(count)") { count += 1 }
            return "\(today).\(count)"
        }
    }

    /// semver.org 2.0.0: what breaks callers counts the first number up, what they may use anew the second.
    private static func semantic(
        after last: (label: String?, schema: ModelSchema)?, _ schema: ModelSchema, _ taken: Set<String>
    ) -> String {
        guard let last, var numbers = last.label.flatMap(parse) else {
            return taken.contains("1.0.0") ? "2.0.0" : "1.0.0"
        }
        if !SchemaChange.breaks(from: last.schema, to: schema).isEmpty {
            numbers = [numbers[0] + 1, 0, 0]
        } else if last.schema != schema {
            numbers = [numbers[0], numbers[1] + 1, 0]
        } else {
            numbers[2] += 1
        }
        var label = numbers.map(String.init).joined(separator: ".")
        while taken.contains(label) {
            numbers[2] += 1
            label = numbers.map(String.init).joined(separator: ".")
        }
        return label
    }

    private static func parse(_ label: String) -> [Int]? {
        let numbers = label.split(separator: ".").compactMap { Int($0) }
        return numbers.count == 3 ? numbers : nil
    }

    private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

extension Int64 {
    fileprivate func dividingFloored(by divisor: Int64) -> Int64 {
        let (quotient, rest) = quotientAndRemainder(dividingBy: divisor)
        return rest < 0 ? quotient - 1 : quotient
    }
}
