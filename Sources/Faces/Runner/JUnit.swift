import API
import Foundation

/// Reads JUnit XML, counting the test cases themselves; the totals that a file claims count only when it has no cases.
struct JUnitReader: Sendable {
    let workspace: String
    /// Names of failed tests that are told.
    static let namesLimit = 50

    /// Reads every file that the pattern names, a broken one left out with a word.
    func read(_ pattern: String, say: (String) async throws -> Void) async throws -> TestSummary? {
        let files = try GlobWalk.files(matching: [pattern], in: workspace)
        guard !files.isEmpty else {
            try await say("! no test report matches \(pattern)")
            return nil
        }
        var sum = TestSummary()
        for file in files {
            guard let data = FileManager.default.contents(atPath: "\(workspace)/\(file)"),
                data.count <= RunnerLimits.reportBytes
            else {
                try await say("! test report \(file) is larger than \(RunnerLimits.reportBytes >> 20) MiB")
                continue
            }
            do {
                Self.add(try Self.parse(Array(data)), to: &sum)
            } catch {
                try await say("! test report \(file) cannot be read: \(error.message)")
            }
        }
        try await say("tests: \(sum.tests), failed \(sum.failures), broken \(sum.errors), skipped \(sum.skipped)")
        return sum
    }

    private static func add(_ part: TestSummary, to sum: inout TestSummary) {
        sum.tests += part.tests
        sum.failures += part.failures
        sum.errors += part.errors
        sum.skipped += part.skipped
        sum.failed_names = Array((sum.failed_names + part.failed_names).prefix(namesLimit))
    }

    static func parse(_ bytes: [UInt8]) throws(Problem) -> TestSummary {
        var scanner = XMLScanner(bytes)
        var sum = TestSummary()
        var claimed = TestSummary()
        var open: (name: String, verdict: Verdict)?
        var hasRoot = false
        while let tag = try scanner.next() {
            hasRoot = true
            switch (tag.name, tag.isEnd) {
            case ("testcase", false):
                let name = [tag.attributes["classname"], tag.attributes["name"]].compactMap { $0 }.joined(
                    separator: ".")
                open = (name, .passed)
                if tag.isEmpty { close(&open, &sum) }
            case ("testcase", true): close(&open, &sum)
            case ("failure", false): open?.verdict.worsen(to: .failed)
            case ("error", false): open?.verdict.worsen(to: .broken)
            case ("skipped", false): open?.verdict.worsen(to: .skipped)
            case ("testsuite", false):
                claimed.tests += Int(tag.attributes["tests"] ?? "") ?? 0
                claimed.failures += Int(tag.attributes["failures"] ?? "") ?? 0
                claimed.errors += Int(tag.attributes["errors"] ?? "") ?? 0
                claimed.skipped += Int(tag.attributes["skipped"] ?? "") ?? 0
            default: break
            }
        }
        guard hasRoot else { throw Problem("junit.empty", status: 422, "it holds no element") }
        return sum.tests == 0 ? claimed : sum
    }

    /// What a test case says; the worst of what it says counts.
    private enum Verdict: Int {
        case passed, skipped, failed, broken
        mutating func worsen(to other: Verdict) { if other.rawValue > rawValue { self = other } }
    }

    private static func close(_ open: inout (name: String, verdict: Verdict)?, _ sum: inout TestSummary) {
        guard let test = open else { return }
        open = nil
        sum.tests += 1
        switch test.verdict {
        case .passed: return
        case .skipped:
            sum.skipped += 1
            return
        case .failed: sum.failures += 1
        case .broken: sum.errors += 1
        }
        if sum.failed_names.count < namesLimit { sum.failed_names.append(String(test.name.prefix(300))) }
    }
}

/// The tags of an XML text, one after another; text, comments, CDATA and instructions are passed over.
///
/// Knows no entities but the five of XML and numbers, loads nothing, expands nothing.
struct XMLScanner {
    struct Tag {
        var name: String
        var attributes: [String: String] = [:]
        var isEnd = false
        var isEmpty = false
    }

    private let bytes: [UInt8]
    private var index = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func next() throws(Problem) -> Tag? {
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "<") else {
                index += 1
                continue
            }
            if starts("<!--") {
                try skip(past: "-->")
            } else if starts("<![CDATA[") {
                try skip(past: "]]>")
            } else if starts("<?") {
                try skip(past: "?>")
            } else if starts("<!") {
                throw Problem("xml.doctype", status: 422, "it declares a document type, which is not read")
            } else {
                return try tag()
            }
        }
        return nil
    }

    private func starts(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[index...].starts(with: $0) }
    }

    private mutating func skip(past end: StaticString) throws(Problem) {
        while index < bytes.count {
            if starts(end) {
                index += end.utf8CodeUnitCount
                return
            }
            index += 1
        }
        throw broken
    }

    private var broken: Problem { Problem("xml.broken", status: 422, "it ends in the middle of a tag") }

    private mutating func tag() throws(Problem) -> Tag {
        index += 1
        var tag = Tag(name: "")
        if index < bytes.count, bytes[index] == UInt8(ascii: "/") {
            tag.isEnd = true
            index += 1
        }
        tag.name = word()
        guard !tag.name.isEmpty else { throw Problem("xml.broken", status: 422, "it is not XML") }
        while true {
            space()
            guard index < bytes.count else { throw broken }
            switch bytes[index] {
            case UInt8(ascii: ">"):
                index += 1
                return tag
            case UInt8(ascii: "/"):
                tag.isEmpty = true
                index += 1
            default:
                let name = word()
                guard !name.isEmpty else { throw Problem("xml.broken", status: 422, "it is not XML") }
                tag.attributes[name] = try value()
            }
        }
    }

    private mutating func space() {
        while index < bytes.count, bytes[index] <= 0x20 { index += 1 }
    }

    private mutating func word() -> String {
        let start = index
        let ends: [UInt8] = [UInt8(ascii: ">"), UInt8(ascii: "/"), UInt8(ascii: "="), UInt8(ascii: "<")]
        while index < bytes.count, bytes[index] > 0x20, !ends.contains(bytes[index]) { index += 1 }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func value() throws(Problem) -> String {
        space()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "=") else { throw broken }
        index += 1
        space()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") || bytes[index] == UInt8(ascii: "'") else {
            throw broken
        }
        let quote = bytes[index]
        let start = index + 1
        guard let end = bytes[start...].firstIndex(of: quote) else { throw broken }
        index = end + 1
        return Self.plain(String(decoding: bytes[start..<end], as: UTF8.self))
    }

    /// The text with its entities replaced.
    private static func plain(_ text: String) -> String {
        guard text.contains("&") else { return text }
        let known = ["lt": "<", "gt": ">", "amp": "&", "quot": "\"", "apos": "'"]
        var out = ""
        var rest = text[...]
        while let mark = rest.firstIndex(of: "&") {
            out += rest[..<mark]
            rest = rest[rest.index(after: mark)...]
            guard let end = rest.prefix(12).firstIndex(of: ";") else {
                out += "&"
                continue
            }
            let name = rest[..<end]
            let number =
                name.hasPrefix("#x")
                ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
            out +=
                known[String(name)] ?? number.flatMap(Unicode.Scalar.init).map { String(Character($0)) } ?? "&\(name);"
            rest = rest[rest.index(after: end)...]
        }
        return out + rest
    }
}
