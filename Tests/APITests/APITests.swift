import Manifests
import Testing

@testable import API

@Suite struct APITests {
    @Test(arguments: [
        ("2026-11-26T08:30:00Z", Int64(1_795_681_800_000_000)), ("1970-01-01T00:00:00.000001Z", 1),
        ("2018-01-01", 1_514_764_800_000_000), ("1969-12-31T23:59:59.5Z", -500_000),
    ])
    func `times are read as RFC 3339 in UTC`(text: String, microseconds: Int64) throws {
        #expect(try #require(Timestamp(text)).microseconds == microseconds)
    }

    @Test(arguments: ["", "2026-13-01", "2026-11-26T08:30:00", "2026-11-26T25:00:00Z", "yesterday"])
    func `what is no time is refused`(text: String) { #expect(Timestamp(text) == nil) }

    @Test func `times write back what they read`() throws {
        for text in ["2024-02-29T23:59:59.125Z", "2000-03-01T00:00:00.000Z", "1999-12-31T12:00:00.000Z"] {
            #expect(try #require(Timestamp(text)).description == text)
        }
    }

    @Test func `operations have unique names and places`() {
        let names = Operations.all.map(\.name)
        let places = Operations.all.map { "\($0.method.rawValue) \($0.path)" }
        #expect(Set(names).count == names.count)
        #expect(Set(places).count == places.count)
    }

    @Test func `every field in a path is a field of the input`() {
        for operation in Operations.all {
            let fields = operation.input().properties.map(\.name)
            for part in operation.path.split(separator: "/") where part.hasPrefix("{") {
                #expect(fields.contains(String(part.dropFirst().dropLast())), "\(operation.name): \(part)")
            }
        }
    }

    private func pipeline(_ stages: String) throws -> PipelineSpec { try PipelineSpec(yaml: "stages:\n\(stages)") }

    @Test func `a stage that names no needs waits for the one before it`() throws {
        let spec = try pipeline(
            "  - { name: a, jobs: { j: { steps: [{ run: x }] } } }\n  - { name: b, jobs: { j: { steps: [{ run: x }] } } }\n  - { name: c, needs: [], jobs: { j: { steps: [{ run: x }] } } }"
        )
        #expect(spec.needs(of: "b") == ["a"])
        #expect(spec.needs(of: "c") == [])
    }

    @Test(arguments: [
        ("  - { name: a, needs: [bb], jobs: { j: { steps: [{ run: x }] } } }", "no stage \"bb\" in this pipeline"),
        (
            "  - { name: a, needs: [b], jobs: { j: { steps: [{ run: x }] } } }\n  - { name: b, needs: [a], jobs: { j: { steps: [{ run: x }] } } }",
            "stages wait for each other: a → b → a"
        ),
        (
            "  - { name: a, jobs: { j: { steps: [{ run: x, checkout: true }] } } }",
            "a step has both \"run\" and \"checkout\""
        ),
        ("  - { name: a, jobs: { j: { steps: [{ id: x }] } } }", "a step says nothing of what it does"),
        ("  - { name: a, jobs: { j: { steps: [{ runn: x }] } } }", "\"runn\" is not a field of a step"),
        ("  - { name: A b, jobs: { j: { steps: [{ run: x }] } } }", "\"A b\" is not a name"),
        (
            "  - { name: a, ingest: { dataset: d } }\n  - { name: b, validate: { dataset: d, input: a.row } }",
            "no stage before \"b\" leaves \"a.row\" behind"
        ),
    ])
    func `a pipeline that cannot work is refused`(stages: String, message: String) {
        let error = #expect(throws: ManifestError.self) { try pipeline(stages) }
        #expect(error?.message == message)
    }

    @Test(arguments: [
        ("n-${{ matrix.i }}", "n-2", true), ("n-${{ matrix.i }}", "m-2", false), ("${{ matrix.i }}", "n-2", true),
        ("n-${{ matrix.i }}-x", "n-2-x", true), ("n-${{ matrix.i }}-x", "n-2", false),
        ("${{ a }}-${{ b }}", "1-2", true), ("${{ a }}-${{ b }}", "12", false), ("n", "n-2", false),
    ])
    func `a name with an expression may be any that fits it`(name: String, text: String, fits: Bool) throws {
        #expect(PipelineChecks.may("a.\(name)", be: "a.\(text)") == fits)
        let stages = """
              - { name: a, jobs: { j: { matrix: { i: [1, 2] }, steps: [{ run: x }], artifacts: [{ name: "\(name)", paths: [p] }] } } }
              - { name: b, jobs: { j: { steps: [{ fetch: a.\(text) }] } } }
            """
        if fits { _ = try pipeline(stages) } else { #expect(throws: ManifestError.self) { try pipeline(stages) } }
    }

    @Test(arguments: [
        ("Service", "services"), ("svc", "services"), ("pipelines", "pipelines"), ("repo", "repositories"),
    ])
    func `kinds answer to their usual names`(word: String, plural: String) throws {
        #expect(try Kinds.named(word).plural == plural)
    }

    @Test func `a permission includes those below it and no agent's`() {
        #expect(Permission.write.allows(.run))
        #expect(!Permission.run.allows(.write))
        #expect(Permission.admin.allows(.agent))
        #expect(!Permission.write.allows(.agent))
        #expect(Permission.agent.allows(.read))
        #expect(!Permission.agent.allows(.run))
    }
}
