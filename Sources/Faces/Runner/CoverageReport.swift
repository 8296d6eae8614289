import API
import Foundation

/// Reads coverage reports: Cobertura XML, JaCoCo XML, lcov. Lines are counted from what is said of each file; a line
/// that several parts of a report tell of counts once, as run when any of them saw it run.
struct CoverageReader: Sendable {
    let workspace: String

    /// Reads every file that the pattern names, a broken one left out with a word.
    func read(_ pattern: String, say: (String) async throws -> Void) async throws -> Coverage? {
        let files = try GlobWalk.files(matching: [pattern], in: workspace)
        guard !files.isEmpty else {
            try await say("! no coverage report matches \(pattern)")
            return nil
        }
        var lines = Lines()
        for file in files {
            guard let bytes = JUnitReader.bytes(of: "\(workspace)/\(file)") else {
                try await say("! coverage report \(file) is larger than \(RunnerLimits.reportBytes >> 20) MiB")
                continue
            }
            do {
                try lines.add(bytes)
            } catch {
                try await say("! coverage report \(file) cannot be read: \(error.message)")
            }
        }
        let coverage = lines.coverage
        guard coverage.lines > 0 else {
            try await say("! the coverage report tells of no lines")
            return nil
        }
        let tenths = Int((coverage.percent * 10).rounded())
        try await say("coverage: \(tenths / 10).\(tenths % 10) % of \(coverage.lines) lines")
        return coverage
    }

    /// Which lines of which file were run.
    struct Lines: Sendable {
        private var files: [String: [Int: Bool]] = [:]
        /// Lines of JaCoCo's counters, for files of which it tells no single lines.
        private var counted: [String: (lines: Int, covered: Int)] = [:]

        mutating func add(_ bytes: [UInt8]) throws(Problem) {
            let start = bytes.first { !($0 == 0x20 || (0x09...0x0D).contains($0) || [0xEF, 0xBB, 0xBF].contains($0)) }
            if start == UInt8(ascii: "<") {
                // Of one that breaks off, nothing counts.
                var read = Lines()
                try read.addXML(bytes)
                for (file, lines) in read.files { files[file, default: [:]].merge(lines) { $0 || $1 } }
                counted.merge(read.counted) { $1 }
            } else {
                try addLCOV(String(decoding: bytes, as: UTF8.self))
            }
        }

        private mutating func note(_ line: Int, of file: String, isRun: Bool) {
            files[file, default: [:]][line] = (files[file]?[line] ?? false) || isRun
        }

        private mutating func addXML(_ bytes: [UInt8]) throws(Problem) {
            var scanner = XMLScanner(bytes)
            var (file, package) = ("", "")
            var isKnown = false
            while let tag = try scanner.next() {
                guard !tag.isEnd else {
                    if tag.name == "class" || tag.name == "sourcefile" { file = "" }
                    continue
                }
                let values = tag.attributes
                switch tag.name {
                case "coverage", "report": isKnown = true
                case "package": package = values["name"] ?? ""
                case "class" where values["filename"] != nil: file = values["filename"] ?? ""
                case "sourcefile":
                    let name = values["name"] ?? ""
                    file = package.isEmpty ? name : "\(package)/\(name)"
                case "line" where !file.isEmpty:
                    // Cobertura: number, hits. JaCoCo: nr, ci (covered instructions).
                    guard let number = Int(values["number"] ?? values["nr"] ?? "") else { continue }
                    note(number, of: file, isRun: (Int(values["hits"] ?? values["ci"] ?? "") ?? 0) > 0)
                case "counter" where values["type"] == "LINE" && !file.isEmpty:
                    let covered = Int(values["covered"] ?? "") ?? 0
                    counted[file] = ((Int(values["missed"] ?? "") ?? 0) + covered, covered)
                default: break
                }
            }
            guard isKnown else { throw Problem("coverage.unknown", status: 422, "it is neither Cobertura nor JaCoCo") }
        }

        private mutating func addLCOV(_ text: String) throws(Problem) {
            var file: String?
            var isKnown = false
            for line in text.split(whereSeparator: \.isNewline) {
                if line.hasPrefix("SF:") {
                    file = String(line.dropFirst(3))
                    isKnown = true
                } else if line.hasPrefix("DA:"), let file {
                    let parts = line.dropFirst(3).split(separator: ",")
                    guard parts.count >= 2, let number = Int(parts[0]) else { continue }
                    // Some write hits as 1e+06, and unknown ones as "=====".
                    note(number, of: file, isRun: (Double(parts[1]) ?? 0) > 0)
                } else if line == "end_of_record" {
                    file = nil
                }
            }
            guard isKnown else { throw Problem("coverage.unknown", status: 422, "it is no lcov file, nor XML") }
        }

        var coverage: Coverage {
            var all: [CoverageFile] = []
            for (path, lines) in files {
                var file = CoverageFile()
                (file.path, file.lines) = (String(path.prefix(300)), lines.count)
                file.covered = lines.values.count { $0 }
                all.append(file)
            }
            for (path, counts) in counted where files[path] == nil {
                var file = CoverageFile()
                (file.path, file.lines, file.covered) = (String(path.prefix(300)), counts.lines, counts.covered)
                all.append(file)
            }
            var coverage = Coverage()
            coverage.lines = all.reduce(0) { $0 + $1.lines }
            coverage.covered = all.reduce(0) { $0 + $1.covered }
            all.sort { ($0.lines - $0.covered, $1.path) > ($1.lines - $1.covered, $0.path) }
            coverage.files = Array(all.prefix(Coverage.filesLimit))
            return coverage
        }
    }
}
