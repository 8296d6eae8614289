import API
import Foundation

/// What JUnit reports say: sums, and the test cases one by one.
struct JUnitFindings: Sendable {
    var summary = TestSummary()
    var cases: [TestCase] = []

    mutating func add(_ other: JUnitFindings) {
        summary.tests += other.summary.tests
        summary.failures += other.summary.failures
        summary.errors += other.summary.errors
        summary.skipped += other.summary.skipped
        let names = summary.failed_names + other.summary.failed_names
        summary.failed_names = Array(names.prefix(JUnitReader.namesLimit))
        cases += other.cases.prefix(TestCase.jobLimit - cases.count)
    }
}

/// Reads JUnit XML, counting the test cases themselves; the totals that a file claims count only when it has no cases.
struct JUnitReader: Sendable {
    let workspace: String
    /// Names of failed tests that are told.
    static let namesLimit = 50
    /// Bytes of a name.
    private static let nameBytes = 300

    /// Reads every file that the pattern names, a broken one left out with a word.
    func read(_ pattern: String, say: (String) async throws -> Void) async throws -> JUnitFindings? {
        let files = try GlobWalk.files(matching: [pattern], in: workspace)
        guard !files.isEmpty else {
            try await say("! no test report matches \(pattern)")
            return nil
        }
        var sum = JUnitFindings()
        for file in files {
            guard let bytes = Self.bytes(of: "\(workspace)/\(file)") else {
                try await say("! test report \(file) is larger than \(RunnerLimits.reportBytes >> 20) MiB")
                continue
            }
            do {
                sum.add(try Self.parse(bytes))
            } catch {
                try await say("! test report \(file) cannot be read: \(error.message)")
            }
        }
        let all = sum.summary
        try await say("tests: \(all.tests), failed \(all.failures), broken \(all.errors), skipped \(all.skipped)")
        for name in all.failed_names { try await say("  failed: \(name)") }
        if all.tests > sum.cases.count, sum.cases.count == TestCase.jobLimit {
            try await say("! only the first \(TestCase.jobLimit) test cases are told one by one")
        }
        return sum
    }

    /// The content of a report; nil when it is too large.
    static func bytes(of path: String) -> [UInt8]? {
        let facts = try? FileManager.default.attributesOfItem(atPath: path)  // gone meanwhile: nil
        guard let size = facts?[.size] as? Int, size <= RunnerLimits.reportBytes else { return nil }
        return FileManager.default.contents(atPath: path).map(Array.init)
    }

    static func parse(_ bytes: [UInt8]) throws(Problem) -> JUnitFindings {
        var scanner = XMLScanner(bytes)
        var found = JUnitFindings()
        var claimed = TestSummary()
        var suites: [String] = []
        var open: TestCase?
        var hasRoot = false
        while let tag = try scanner.next() {
            hasRoot = true
            switch (tag.name, tag.isEnd) {
            case ("testcase", false):
                open = begin(tag, suite: suites.last ?? "")
                if tag.isEmpty { close(&open, &found) }
            case ("testcase", true): close(&open, &found)
            case ("failure", false): worsen(&open, to: .failed, tag, &scanner)
            case ("error", false): worsen(&open, to: .broken, tag, &scanner)
            case ("skipped", false): worsen(&open, to: .skipped, tag, &scanner)
            case ("failure", true), ("error", true), ("skipped", true): read(&scanner, into: &open)
            case ("testsuite", false):
                if !tag.isEmpty { suites.append(tag.attributes["name"] ?? "") }
                claimed.tests += Int(tag.attributes["tests"] ?? "") ?? 0
                claimed.failures += Int(tag.attributes["failures"] ?? "") ?? 0
                claimed.errors += Int(tag.attributes["errors"] ?? "") ?? 0
                claimed.skipped += Int(tag.attributes["skipped"] ?? "") ?? 0
            case ("testsuite", true): _ = suites.popLast()
            default: break
            }
        }
        guard hasRoot else { throw Problem("junit.empty", status: 422, "it holds no element") }
        if found.summary.tests == 0 { found.summary = claimed }
        return found
    }

    private static func begin(_ tag: XMLScanner.Tag, suite: String) -> TestCase {
        var test = TestCase()
        test.suite = String((tag.attributes["classname"] ?? suite).prefix(nameBytes))
        test.name = String((tag.attributes["name"] ?? "").prefix(nameBytes))
        test.file = tag.attributes["file"].map { String($0.prefix(nameBytes)) }
        // Some write 1,234.5 for a long test.
        let seconds = tag.attributes["time"].flatMap { Double($0.replacing(",", with: "")) } ?? 0
        test.seconds = seconds.isFinite ? max(0, seconds) : 0
        return test
    }

    /// A test case says one thing or several; the worst counts, with its message.
    private static func worsen(
        _ open: inout TestCase?, to verdict: TestCase.Verdict, _ tag: XMLScanner.Tag, _ scanner: inout XMLScanner
    ) {
        guard let test = open, rank(verdict) > rank(test.verdict) else { return }
        open?.verdict = verdict
        open?.message = tag.attributes["message"].map { String($0.prefix(TestCase.messageBytes)) }
        scanner.text = []
        scanner.isCapturing = !tag.isEmpty && open?.message == nil
    }

    private static func read(_ scanner: inout XMLScanner, into open: inout TestCase?) {
        guard scanner.isCapturing else { return }
        scanner.isCapturing = false
        let text = XMLScanner.plain(String(decoding: scanner.text, as: UTF8.self))
            .trimmingCharacters(in: .whitespacesAndNewlines)
        if !text.isEmpty { open?.message = text }
    }

    private static func rank(_ verdict: TestCase.Verdict) -> Int {
        switch verdict {
        case .passed: 0
        case .skipped: 1
        case .failed: 2
        case .broken: 3
        }
    }

    private static func close(_ open: inout TestCase?, _ found: inout JUnitFindings) {
        guard let test = open else { return }
        open = nil
        found.summary.tests += 1
        if found.cases.count < TestCase.jobLimit { found.cases.append(test) }
        switch test.verdict {
        case .passed: return
        case .skipped:
            found.summary.skipped += 1
            return
        case .failed: found.summary.failures += 1
        case .broken: found.summary.errors += 1
        }
        if found.summary.failed_names.count < namesLimit {
            let name = [test.suite, test.name].filter { !$0.isEmpty }.joined(separator: ".")
            found.summary.failed_names.append(String(name.prefix(nameBytes)))
        }
    }
}
