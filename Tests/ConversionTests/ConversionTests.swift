import Conversion
import Foundation
import Manifests
import Testing

/// Workflows and CI files as teams write them, in Files/.
enum Sample {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Files")

    static var names: [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []  // none: counted
        return all.filter { $0.hasSuffix(".yml") }.sorted()
    }

    static func document(_ name: String) throws -> YAMLDocument {
        let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
        return try #require(try YAML.documents(text, file: name).first)
    }

    static func converted(_ name: String) throws -> Converted {
        let document = try document(name)
        let source = try #require(Conversion.source(of: document.value))
        return try Conversion.convert(document, from: source, name: String(name.dropLast(4)))
    }

    static func converted(text: String, name: String = "ci") throws -> Converted {
        let document = try #require(try YAML.documents(text, file: "ci.yml").first)
        let source = try #require(Conversion.source(of: document.value))
        return try Conversion.convert(document, from: source, name: name)
    }
}

extension Converted {
    /// The only job of a stage.
    func job(_ stage: String) -> JSONValue? { self.stage(stage)?["jobs"]?[stage] }
    func stage(_ name: String) -> JSONValue? {
        documents[0]["stages"]?.array?.first { $0["name"]?.string == name }
    }
    func steps(_ stage: String) -> [JSONValue] { job(stage)?["steps"]?.array ?? [] }
    func reasons(_ path: String) -> [String] {
        notes.filter { $0.path.joined(separator: ".") == path }.map(\.reason)
    }
}

@Suite struct WholeTests {
    @Test func `there are a dozen files and more`() { #expect(Sample.names.count >= 13) }

    @Test(arguments: Sample.names)
    func `every key of a file is in the manifest or in the list`(name: String) throws {
        let document = try Sample.document(name)
        let converted = try Sample.converted(name)
        var keys = 0
        func walk(_ value: JSONValue, _ path: [String], isNoted: Bool) {
            let noted = isNoted || converted.notes.contains { $0.path == path }
            if !path.isEmpty, Int(path.last ?? "") == nil, !path.contains("<<") {
                keys += 1
                #expect(noted || converted.mapped.contains(path), "\(path.joined(separator: ".")) vanished")
            }
            for (key, member) in value.object ?? [:] { walk(member, path + [key], isNoted: noted) }
            for (index, item) in (value.array ?? []).enumerated() { walk(item, path + ["\(index)"], isNoted: noted) }
        }
        walk(document.value, [], isNoted: false)
        #expect(keys > 8)
        #expect(converted.notes.allSatisfy { !$0.reason.isEmpty })
    }

    @Test(arguments: Sample.names)
    func `no word of the other system is left in a manifest`(name: String) throws {
        let text = try Sample.converted(name).documents[0].text
        for word in [
            "${{ github.", "github.ref", "github.event", "GITHUB_OUTPUT", "GITHUB_ENV", "$CI_COMMIT_SHA",
            "CI_PROJECT_DIR",
        ] {
            #expect(!text.contains(word), "\(word) in \(name)")
        }
    }

    @Test(arguments: Sample.names)
    func `stages are called by names, and what they need is there`(name: String) throws {
        let stages = try Sample.converted(name).documents[0]["stages"]?.array ?? []
        let names = stages.compactMap { $0["name"]?.string }
        #expect(Set(names).count == names.count && !names.isEmpty)
        for stage in stages {
            let form = /[a-z0-9][a-z0-9_-]*/
            #expect(stage["name"]?.string?.wholeMatch(of: form) != nil)
            #expect((stage["jobs"] != nil) != (stage["uses"] != nil))
            for need in stage["needs"]?.array ?? [] {
                let other = need.string ?? need["stage"]?.string ?? ""
                #expect(names.contains(other), "\(other)")
            }
        }
    }

    @Test func `a key that nobody knows is listed with its line`() throws {
        let converted = try Sample.converted(
            text:
                "on: push\njobs:\n  a:\n    runs-on: x\n    frobnicate: { deep: 1 }\n    steps:\n      - run: x\n        oops: 2\n"
        )
        let notes = converted.notes.filter { $0.reason.contains("no counterpart") }
        #expect(notes.map(\.line) == [5, 8])
        #expect(notes.map { $0.path.last } == ["frobnicate", "oops"])
        #expect(notes.allSatisfy { $0.kind == .lost })
    }

    @Test func `a file that is neither is told apart`() throws {
        for (text, source) in [
            ("on: push\njobs: {}", Conversion.Source.github), ("build: { script: [x] }", .gitlab),
            ("stages: [a]", .gitlab), ("kind: Pipeline\nname: x", nil), ("- 1", nil),
            ("services: { a: { image: x } }", nil),
        ] as [(String, Conversion.Source?)] {
            #expect(Conversion.source(of: try YAML.documents(text)[0].value) == source, "\(text)")
        }
    }
}
