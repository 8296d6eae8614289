import Manifests

/// Names, times and the variables of scripts.
enum Words {
    /// Small letters, digits, "-" and "_", beginning with a letter or digit, at most 63.
    static func name(_ text: String) -> String {
        var out = ""
        for scalar in text.lowercased().unicodeScalars {
            let isWord = ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar)
            if isWord || scalar == "_" || scalar == "-" {
                out.unicodeScalars.append(scalar)
            } else if out.last != "-" {
                out.append("-")
            }
        }
        while let first = out.first, first == "-" || first == "_" { out.removeFirst() }
        out = String(out.prefix(63))
        while out.last == "-" { out.removeLast() }
        return out.isEmpty ? "pipeline" : out
    }

    /// The same for several, each its own: later ones that would be the same get a number.
    static func names(_ texts: [String]) -> Ordered<String> {
        var taken: Set<String> = []
        var all = Ordered<String>()
        for text in texts {
            var candidate = name(text)
            var number = 2
            while !taken.insert(candidate).inserted {
                candidate = "\(name(text).prefix(60))-\(number)"
                number += 1
            }
            all[text] = candidate
        }
        return all
    }

    /// "1h 30m", "90 minutes", "2 hours 10 minutes", "3600" (seconds), "1 week" as one of our spans; nil for none.
    static func span(_ text: String) -> String? {
        let units: [(names: [String], seconds: Int)] = [
            (["weeks", "week", "w"], 604_800), (["days", "day", "d"], 86_400),
            (["hours", "hour", "hrs", "hr", "h"], 3600), (["minutes", "minute", "mins", "min", "m"], 60),
            (["seconds", "second", "secs", "sec", "s"], 1), (["months", "month", "mos"], 2_592_000),
            (["years", "year", "y"], 31_536_000),
        ]
        var rest = text.lowercased()[...]
        var seconds = 0
        var hasUnit = false
        while true {
            rest = rest.drop { $0 == " " || $0 == "," }
            if rest.hasPrefix("and ") { rest = rest.dropFirst(4) }
            if rest.isEmpty { break }
            let digits = rest.prefix { $0.isNumber }
            guard let count = Int(digits), count < 1_000_000 else { return nil }
            rest = rest.dropFirst(digits.count).drop { $0 == " " }
            let word = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(word.count)
            if word.isEmpty {
                seconds += count
                continue
            }
            guard let unit = units.first(where: { $0.names.contains(String(word)) }) else { return nil }
            seconds += count * unit.seconds
            hasUnit = true
        }
        guard seconds > 0 || hasUnit else { return nil }
        return span(seconds: seconds)
    }

    static func span(seconds: Int) -> String {
        for (suffix, length) in [("d", 86_400), ("h", 3600), ("m", 60)] where seconds > 0 && seconds % length == 0 {
            return "\(seconds / length)\(suffix)"
        }
        return "\(seconds)s"
    }

    /// Names of variables that a script reads: `$NAME`, `${NAME}`, `${NAME:-x}`; single quotes are not looked at.
    static func variables(in script: String) -> [String] {
        var found: [String] = []
        replaceVariables(in: script) { name in
            if !found.contains(name) { found.append(name) }
            return nil
        }
        return found
    }

    /// The script with the names of variables replaced, where `other` gives one.
    @discardableResult
    static func replaceVariables(in script: String, _ other: (String) -> String?) -> String {
        var out = ""
        var rest = script[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            var after = rest[rest.index(after: dollar)...]
            out += "$"
            if after.hasPrefix("{{") {
                // An expression: not the shell's.
                let end = after.range(of: "}}")?.upperBound ?? after.endIndex
                out += after[..<end]
                rest = after[end...]
                continue
            }
            if after.first == "{" {
                out += "{"
                after = after.dropFirst()
            }
            let name = after.prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
            if let first = name.first, !first.isNumber {
                out += other(String(name)) ?? String(name)
                rest = after.dropFirst(name.count)
            } else {
                rest = after
            }
        }
        return out + rest
    }
}

extension Substring {
    /// Where the text first stands in it.
    fileprivate func range(of text: String) -> Range<Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}
