import API
import Conversion
import Foundation
import Kernel
import Manifests
import Testing

@testable import CLI

@Suite struct ConvertTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "ConversionTests/Files")

    private static var names: [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []  // none: counted
        return all.filter { $0.hasSuffix(".yml") }.sorted()
    }

    @Test func `there are files to convert`() { #expect(Self.names.count >= 13) }

    @Test(arguments: names)
    func `what is converted is a pipeline that would be taken`(name: String) throws {
        let text = try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
        let document = try #require(try YAML.documents(text, file: name).first)
        let source = try #require(Conversion.source(of: document.value))
        let converted = try Conversion.convert(document, from: source, name: String(name.dropLast(4)))
        // As it is written to a file and read again.
        let written = try YAML.documents(converted.documents[0].yaml, file: name)
        let resource = try CoreDomain.read(try #require(written.first).value, project: "default")
        #expect(resource.kind == "Pipeline")
        #expect(written[0].value == converted.documents[0])
    }

    @Test func `a note reads as place, kind and reason`() {
        let notes = [
            ConversionNote(kind: .lost, path: ["jobs", "a"], line: 3, reason: "gone"),
            ConversionNote(kind: .changed, path: ["on"], line: nil, reason: "other"),
        ]
        #expect(
            ConvertCommand.report(notes, file: "ci.yml")
                == "ci.yml:3: lost: jobs.a: gone\nci.yml:-: changed: on: other\n")
    }
}

@Suite struct SystemsTests {
    @Test(arguments: Systems.table.map { ($0.key, $0.fields) })
    func `each key of the first system has a field that there is`(key: String, fields: [String]) {
        #expect(fields.contains { Systems.words(for: $0) != nil }, "\(key): none of \(fields)")
    }

    @Test func `the keys are those that were asked for`() {
        let keys = Dictionary(grouping: Systems.table, by: \.part).mapValues { $0.map(\.key) }
        #expect(keys["pipeline"] == ["id", "triggers", "environments", "approval_gates", "rollback", "stages"])
        #expect(keys["stage"] == ["name", "type", "jobs", "dependencies", "parallel", "timeout"])
        #expect(keys["job"] == ["name", "type", "steps", "resources", "environment", "artifacts"])
        #expect(Systems.words(for: "pipeline.nothing") == nil && Systems.words(for: "nothing.x") == nil)
        #expect(Systems.text.contains("pipeline.stages.needs"))
        #expect(Systems.text.contains("source_control"))
    }
}
