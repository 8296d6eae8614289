import Manifests
import Testing

@testable import API

/// What is written of a graph, and what is refused of it.
@Suite struct GraphTests {
    // MARK: Matrix

    static let matrices: [(String, [String])] = [
        ("{ os: [a, b], v: [1, 2] }", ["a, 1", "a, 2", "b, 1", "b, 2"]),
        ("{ os: [a, b], v: [1, 2], exclude: [{ os: a, v: 1 }] }", ["a, 2", "b, 1", "b, 2"]),
        ("{ os: [a, b], v: [1, 2], exclude: [{ os: a }] }", ["b, 1", "b, 2"]),
        ("{ v: [\"1\"], exclude: [{ v: 1 }] }", []),
        ("{ v: [1.0, 2], exclude: [{ v: 1 }] }", ["2"]), ("{ v: [1, 2.5], exclude: [{ v: 1.0 }] }", ["2.5"]),
        ("{ v: [1.0], include: [{ v: 1, fast: true }] }", ["1, true"]),
        ("{ v: [9007199254740993], exclude: [{ v: 9007199254740992 }] }", ["9007199254740993"]),
        // An include that changes no value extends; one that would is a cell of its own.
        ("{ os: [a, b], include: [{ os: a, fast: true }] }", ["a, true", "b"]),
        ("{ os: [a], include: [{ os: z }] }", ["a", "z"]),
        ("{ os: [a, b], include: [{ colour: red }] }", ["a, red", "b, red"]),
        ("{ include: [{ x: 1 }, { x: 2 }] }", ["1", "2"]),
        // The worked example of GitHub's documentation, "Expanding or adding matrix configurations".
        (
            """
            { fruit: [apple, pear], animal: [cat, dog], include: [{ color: green }, { color: pink, animal: cat },
              { fruit: apple, shape: circle }, { fruit: banana }, { fruit: banana, animal: cat }] }
            """,
            [
                "apple, cat, pink, circle", "apple, dog, green, circle", "pear, cat, pink", "pear, dog, green",
                "banana",
                "banana, cat",
            ]
        ),
    ]

    @Test(arguments: matrices.indices)
    func `a matrix is its product without what is excluded and with what is included`(row: Int) throws {
        let (text, titles) = Self.matrices[row]
        let json = try #require(try YAML.documents("m: \(text)").first?.value["m"])
        #expect(try MatrixSpec(json).cells().map(\.cellTitle) == titles)
    }

    @Test(arguments: [
        ("{ os: [] }", "must be a list with at least one value"), ("{ os: a }", "must be a list"),
        ("{ os: [a], include: a }", "must be a list of maps"), ("{ fail_fast: [true] }", "is no name of a value"),
        ("[a]", "a matrix is a map or an expression"),
    ])
    func `a matrix that cannot be one is refused`(text: String, words: String) throws {
        let error = #expect(throws: ManifestError.self) {
            try PipelineSpec(yaml: "stages: [{ name: a, jobs: { j: { matrix: \(text), steps: [{ run: x }] } } }]")
        }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        #expect(error?.location?.isEmpty == false)
    }

    @Test func `a matrix has a bound`() throws {
        let values = JSONValue.array((0..<20).map { .integer($0) })
        #expect(throws: ManifestError.self) { try MatrixSpec(["a": values, "b": values]).cells() }
        #expect(try MatrixSpec(["a": values, "b": .array([1, 2])]).cells().count == 40)
    }

    // MARK: Needs

    private func pipeline(_ stages: String) throws -> PipelineSpec { try PipelineSpec(yaml: "stages:\n\(stages)") }
    private static let job = "steps: [{ run: x }]"

    @Test func `a need of a job names a job of its stage, a stage, or both`() throws {
        let spec = try pipeline(
            """
              - { name: build, jobs: { j: { \(Self.job) } } }
              - name: test
                jobs:
                  a: { \(Self.job), matrix: { os: [x, y] } }
                  b: { \(Self.job), needs: [a, build, build/j, { job: a, matrix: { os: x }, optional: true }] }
            """)
        let graph = try PipelineGraph(spec)
        let needs = try #require(graph.jobNeeds[1]["b"])
        #expect(needs.map(\.label) == ["test/a", "build", "build/j", "test/a (os: x)"])
        #expect(needs.map(\.name) == ["a", "build", "build", "a"])
        #expect(needs.map(\.isOptional) == [false, false, false, true])
    }

    static let refused: [(String, String, String)] = [
        (
            "  - { name: a, needs: [{ stage: bb }], jobs: { j: { \(job) } } }", "no stage \"bb\" in this pipeline",
            "stages.0"
        ),
        (
            "  - { name: a, jobs: { lint: { \(job) }, t: { \(job), needs: [lnt] } } }",
            "no job of this stage and no stage is called \"lnt\"", "stages.0.jobs.t.needs.0"
        ),
        (
            "  - { name: a, jobs: { j: { \(job) } } }\n  - { name: b, needs: [a/k], jobs: { j: { \(job) } } }",
            "no job \"k\" in stage \"a\"", "stages.1.needs.0"
        ),
        (
            "  - { name: a, jobs: { x: { \(job), needs: [y] }, y: { \(job), needs: [x] } } }",
            "jobs wait for each other: a/x → a/y → a/x", "stages"
        ),
        ("  - { name: a, jobs: { x: { \(job), needs: [x] } } }", "jobs wait for each other: a/x → a/x", "stages"),
        (
            "  - { name: a, jobs: { x: { \(job), needs: [b] } } }\n  - { name: b, jobs: { y: { \(job) } } }",
            "jobs wait for each other", "stages"
        ),
        (
            "  - { name: a, jobs: { x: { \(job), matrix: { os: [p] } }, y: { \(job), needs: [{ job: x, matrix: { os: q } }] } } }",
            "job \"a/x\" has no cell like that", "stages.0.jobs.y.needs.0"
        ),
        (
            "  - { name: a, jobs: { x: { \(job) }, y: { \(job), needs: [{ job: x, matrix: { os: q } }] } } }",
            "job \"a/x\" has no matrix", "stages.0.jobs.y.needs.0"
        ),
        ("  - { name: a, needs: [{ optional: true }], jobs: { x: { \(job) } } }", "names neither", "stages.0.needs.0"),
        ("  - { name: a, uses: { pipeline: p }, jobs: { x: { \(job) } } }", "has both", "stages.0"),
    ]

    @Test(arguments: refused.indices)
    func `a graph that cannot work is refused, with its place`(row: Int) {
        let (stages, message, place) = Self.refused[row]
        let error = #expect(throws: ManifestError.self) { try pipeline(stages) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.at.joined(separator: ".").hasPrefix(place) == true, "\(error?.at ?? [])")
        #expect(error?.hint?.isEmpty == false || error?.message.contains("no matrix") == true)
    }

    @Test func `a slip of the hand gets a suggestion`() {
        let error = #expect(throws: ManifestError.self) {
            try pipeline(
                "  - { name: build, jobs: { j: { \(Self.job) } } }\n  - { name: b, needs: [buidl], jobs: { j: { \(Self.job) } } }"
            )
        }
        #expect(error?.hint == "Did you mean \"build\"?")
    }

    @Test func `stages at the end share the names of the others and wait for nobody by default`() throws {
        let spec = try PipelineSpec(
            yaml: """
                stages: [{ name: a, jobs: { j: { \(Self.job) } } }]
                finally: [{ name: clean, jobs: { j: { \(Self.job) } } }, { name: tell, needs: [clean], jobs: { j: { \(Self.job) } } }]
                """)
        let graph = try PipelineGraph(spec)
        #expect(graph.stageNeeds.map { $0.map(\.stage) } == [[], [], ["clean"]])
        let error = #expect(throws: ManifestError.self) {
            try PipelineSpec(
                yaml:
                    "stages: [{ name: a, jobs: { j: { \(Self.job) } } }]\nfinally: [{ name: a, jobs: { j: { \(Self.job) } } }]"
            )
        }
        #expect(error?.at == ["finally", "0", "name"])
    }

    /// Ten thousand stages, each needing the one before and one far behind: deep, and with many edges.
    private static func large(_ count: Int) -> JSONValue {
        .object([
            "stages": .array(
                (0..<count).map { number -> JSONValue in
                    var needs: [JSONValue] = number == 0 ? [] : [.string("s\(number - 1)")]
                    if number > 100 { needs.append(.string("s\(number - 100)")) }
                    let job: JSONValue = ["steps": [["run": "true"]]]
                    return ["name": .string("s\(number)"), "needs": .array(needs), "jobs": ["j": job]]
                })
        ])
    }

    @Test func `a graph of ten thousand stages is read and checked, in time that does not grow with its square`() throws
    {
        let clock = ContinuousClock()
        let (small, large) = (Self.large(1000), Self.large(10_000))
        let few = try clock.measure { _ = try PipelineSpec(json: small, at: []) }
        let many = try clock.measure { _ = try PipelineSpec(json: large, at: []) }
        #expect(many < few * 40, "1,000 stages took \(few), 10,000 took \(many)")
    }

    @Test func `a circle of ten thousand stages is found without running out of stack`() throws {
        var stages = Self.large(10_000)["stages"]?.array ?? []
        var first = stages[0].object ?? [:]
        first["needs"] = ["s9999"]
        stages[0] = .object(first)
        let all = stages
        let error = #expect(throws: ManifestError.self) {
            try PipelineSpec(json: ["stages": .array(all)], at: [])
        }
        #expect(error?.message.hasPrefix("stages wait for each other: ") == true)
        #expect((error?.message.count ?? 0) < 300)
    }

    // MARK: Short forms

    @Test func `short forms are read and written back as they were`() throws {
        let text = """
            concurrency: deploys
            stages:
              - name: a
                needs: []
                concurrency: { group: g, limit: 2, queue: latest, cancel_running: pull_request }
                jobs:
                  x:
                    allow_failure: { exit_codes: [2] }
                    retry: { max: 2, for: [timeout], exit_codes: [75], delay: 10s }
                    steps: [{ run: x }]
                  y: { allow_failure: true, needs: [x], steps: [{ run: x }] }
            """
        let spec = try PipelineSpec(yaml: text)
        #expect(spec.concurrency?.group == "deploys" && spec.concurrency?.limit == 1)
        let job = try #require(spec.stages[0].jobs["x"])
        #expect(job.allow_failure.covers(exitCode: 2) && !job.allow_failure.covers(exitCode: 1))
        #expect(job.retry?.exit_codes == [75] && job.retry?.delay == .seconds(10))
        #expect(spec.stages[0].jobs["y"]?.allow_failure == true)
        #expect(spec.json["stages"]?[0]?["jobs"]?["y"]?["needs"] == ["x"])
        #expect(try PipelineSpec(json: spec.json, at: []) == spec)
    }
}
