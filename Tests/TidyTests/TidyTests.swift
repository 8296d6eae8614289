import Foundation
import Testing

/// The house rules that a formatter cannot hold. An exception is a line `path: pattern  # reason` in tidy-allow.txt.
@Suite struct TidyTests {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    struct Source {
        var path: String
        var lines: [Substring]
    }

    static func sources(_ folder: String) throws -> [Source] {
        let base = root.appending(path: folder)
        guard let files = FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil) else { return [] }
        return try files.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }.map { file in
            let text = try String(contentsOf: file, encoding: .utf8)
            let path = file.path.replacingOccurrences(of: root.path + "/", with: "")
            return Source(path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false))
        }
    }

    static func allowed() throws -> [(path: String, pattern: String)] {
        let text = try String(contentsOf: root.appending(path: "tidy-allow.txt"), encoding: .utf8)
        return text.split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap { line in
            let rule = line.components(separatedBy: "  # ")
            guard rule.count == 2, let colon = rule[0].range(of: ": ") else { return nil }
            return (String(rule[0][..<colon.lowerBound]), String(rule[0][colon.upperBound...]))
        }
    }

    static func isAllowed(_ path: String, _ pattern: String, _ rules: [(path: String, pattern: String)]) -> Bool {
        rules.contains { path.hasPrefix($0.path) && $0.pattern == pattern }
    }

    @Test func `no source says what the project has agreed not to say`() throws {
        let banned: [(pattern: String, instead: String)] = [
            ("JSONSerialization", "JSONValue"), ("[String: Any]", "JSONValue"), ("Thread.sleep", "TimeSource"),
            ("Date()", "a time given as an argument"), ("Foundation.Process", "Processes"), ("try!", "try"),
            ("FIX" + "ME", "an issue"), ("TO" + "DO", "an issue"), ("Task.detached", "a child task"),
        ]
        let rules = try Self.allowed()
        var complaints: [String] = []
        for source in try Self.sources("Sources") {
            for (number, line) in source.lines.enumerated() {
                for ban in banned where line.contains(ban.pattern) && !Self.isAllowed(source.path, ban.pattern, rules) {
                    complaints.append("\(source.path):\(number + 1): \(ban.pattern): use \(ban.instead)")
                }
            }
        }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }

    @Test func `what forgives says why on its line`() throws {
        var complaints: [String] = []
        for source in try Self.sources("Sources") {
            for (number, line) in source.lines.enumerated() {
                let forgives =
                    line.contains(#/(^|[^A-Za-z0-9_])try\? /#) || line.contains("@unchecked Sendable")
                    || line.contains("nonisolated(unsafe)")
                if forgives && !line.contains("//") {
                    complaints.append("\(source.path):\(number + 1): \(line.drop { $0 == " " })")
                }
            }
        }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }

    @Test func `a third-party module has one door`() throws {
        let doors = [
            "GRDB": ["Sources/Base/SQL/"], "GRDBSQLite": ["Sources/Base/SQL/"], "CYaml": ["Sources/Base/Manifests/"],
            "AsyncHTTPClient": ["Sources/Base/Outbound/"],
            "Hummingbird": ["Sources/Faces/Server/"], "Mustache": ["Sources/Faces/Web/"],
            "ArgumentParser": ["Sources/Faces/CLI/"],
            "NIOPosix": [
                "Sources/Base/Proxy/", "Sources/Base/Outbound/", "Sources/Faces/Server/", "Sources/Faces/Routers/",
            ],
        ]
        var complaints: [String] = []
        for source in try Self.sources("Sources") {
            for (number, line) in source.lines.enumerated() where line.contains("import ") {
                let module = line.split(separator: " ").last.map(String.init) ?? ""
                if let folders = doors[module], !folders.contains(where: { source.path.hasPrefix($0) }) {
                    complaints.append(
                        "\(source.path):\(number + 1): only \(folders.joined(separator: ", ")) may import \(module)")
                }
            }
        }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }

    @Test func `no file has grown past 800 lines`() throws {
        let long = try (Self.sources("Sources") + Self.sources("Tests")).filter { $0.lines.count > 800 }
        #expect(long.isEmpty, "\(long.map { "\($0.path): \($0.lines.count)" }.joined(separator: "\n"))")
    }

    @Test func `no domain imports another`() throws {
        let domains = [
            "Pipelines", "Delivery", "Datasets", "Training", "Experiments", "Serving", "Monitors", "Telemetry", "Vault",
        ]
        var complaints: [String] = []
        for source in try Self.sources("Sources/Domains") {
            let own = source.path.split(separator: "/")[2]
            for line in source.lines where line.contains("import ") {
                let module = line.split(separator: " ").last.map(String.init) ?? ""
                if domains.contains(module), module != own { complaints.append("\(source.path): \(line)") }
            }
        }
        #expect(complaints.isEmpty, "\(complaints.joined(separator: "\n"))")
    }

    @Test func `every link between documents leads somewhere`() throws {
        let files = FileManager.default.enumerator(
            at: Self.root.appending(path: "docs"), includingPropertiesForKeys: nil)
        let pages =
            (files?.compactMap { $0 as? URL } ?? [])
            + ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map { Self.root.appending(path: $0) }
        var dead: [String] = []
        for page in pages where page.pathExtension == "md" {
            let text = try String(contentsOf: page, encoding: .utf8)
            for match in text.matches(of: /\]\((?<target>[^)#\s]+)[^)]*\)/) {
                let target = String(match.output.target)
                if target.contains("://") || target.hasPrefix("mailto:") { continue }
                let place = page.deletingLastPathComponent().appending(path: target)
                if !FileManager.default.fileExists(atPath: place.path) {
                    dead.append("\(page.lastPathComponent): \(target)")
                }
            }
        }
        #expect(dead.isEmpty, "\(dead.joined(separator: "\n"))")
    }
}
