import API
import Kernel
import KernelTesting
import Manifests
import Testing

@Suite struct ResourceTests {
    private func house() async throws -> TestHouse {
        let house = try TestHouse()
        try await house.open([])
        return house
    }

    private func model(_ house: TestHouse, _ name: String, project: String = "default") async throws -> Resource {
        try await house.call(Resources.get, ResourceName(project: project, kind: "models", name: name))
    }

    @Test func `applying makes, changes, and leaves alone`() async throws {
        let house = try await house()
        let made = try await house.apply("{ kind: Model, name: m, description: one }").items[0]
        #expect(made.change == .created && made.generation == 1)
        let same = try await house.apply("{ kind: Model, name: m, description: one }").items[0]
        #expect(same.change == .unchanged && same.generation == 1)
        let changed = try await house.apply("{ kind: Model, name: m, description: two, labels: { team: ml } }").items[0]
        #expect(changed.change == .changed && changed.generation == 2)
        #expect(changed.difference == ["description: \"one\" → \"two\""])
        #expect(try await house.events().map(\.name) == ["model.created", "model.changed"])
        #expect(try await model(house, "m").labels == ["team": "ml"])
    }

    @Test func `a dry run tells the difference and keeps nothing`() async throws {
        let house = try await house()
        try await house.apply("{ kind: Model, name: m, description: one }")
        var input = ApplyInput()
        input.dry_run = true
        input.documents = [
            ["kind": "Model", "name": "m", "format": "linear"], ["kind": "Model", "name": "new"],
        ]
        let outcome = try await house.call(Resources.apply, input)
        #expect(outcome.items.map(\.change) == [.changed, .created])
        #expect(outcome.items[0].difference.sorted() == ["description: \"one\" → (default)", "format: \"linear\""])
        #expect(try await model(house, "m").generation == 1)
        #expect(try await house.events().count == 1)
        await #expect(throws: Problem.self) { try await model(house, "new") }
    }

    @Test func `a status that stands there already is no news and rings no bell`() async throws {
        let house = try await house()
        try await house.apply("{ kind: Model, name: m }")
        let reference = Reference<ModelKind>(project: "default", name: "m")
        let bell = house.store.bells.listen(to: [ModelKind.name])
        // Who expects a ring waits for it; the clock stands still meanwhile.
        func rings(_ latest: Int, _ conditions: [Condition]? = nil, expected: Bool) async throws -> Bool {
            var status = ModelStatus()
            status.latest_version = latest
            let written = status
            try await house.store.change(.system("test")) { change in
                try change.setStatus(written, of: reference, conditions: conditions)
            }
            let deadline = house.time.now.advanced(by: expected ? .seconds(1) : .zero)
            return try await bell.wait(until: deadline, by: house.time) == expected
        }
        #expect(try await rings(1, expected: true))
        #expect(try await rings(1, expected: false))
        #expect(try await rings(2, expected: true))
        let condition = Condition("Ready", .yes, reason: "Ready", message: "It is.")
        #expect(try await rings(2, [condition], expected: true))
        #expect(try await rings(2, [condition], expected: false))
    }

    @Test func `all documents or none`() async throws {
        let house = try await house()
        let problem = await #expect(throws: Problem.self) {
            try await house.apply("{ kind: Model, name: good }\n---\n{ kind: Model, name: bad, formt: linear }")
        }
        #expect(problem?.location == "documents.1.formt")
        #expect(problem?.hint == "Did you mean \"format\"?")
        #expect(try await house.call(Resources.list, ResourceQuery.of("models")).items.isEmpty)
    }

    @Test(
        arguments: [
            ("{ name: x }", "\"kind\" is missing"), ("{ kind: Modle, name: x }", "no kind \"Modle\""),
            ("{ kind: Model }", "\"name\" is missing"), ("{ kind: Model, name: Bad Name }", "cannot be a name"),
            ("[1]", "a manifest is a map"), ("{ kind: Model, name: m, format: onnx }", "\"onnx\" is not a value"),
        ])
    func `what is no manifest is told so`(yaml: String, words: String) async throws {
        let house = try await house()
        let problem = await #expect(throws: Problem.self) { try await house.apply(yaml) }
        #expect(problem?.message.contains(words) == true && problem?.status == 422)
        #expect(problem?.hint != nil)
    }

    @Test func `things are listed by label, and removed`() async throws {
        let house = try await house()
        try await house.apply(
            "{ kind: Model, name: a, labels: { team: ml, tier: gold } }\n---\n{ kind: Model, name: b, labels: { team: ml } }"
        )
        var query = ResourceQuery.of("models")
        query.labels = "team=ml,tier=gold"
        #expect(try await house.call(Resources.list, query).items.map(\.name) == ["a"])
        (query.labels, query.after) = (nil, "a")
        #expect(try await house.call(Resources.list, query).items.map(\.name) == ["b"])
        _ = try await house.call(Resources.delete, ResourceName(project: "default", kind: "model", name: "a"))
        await #expect(throws: Problem.self) { try await model(house, "a") }
        #expect(try await house.events(named: "model.deleted").count == 1)
    }

    @Test func `a call reaches no further than its permission and project`() async throws {
        let house = try await house()
        func apply(_ call: Call, project: String = "default") async throws {
            var input = ApplyInput()
            (input.project, input.documents) = (project, [["kind": "Model", "name": "m"]])
            _ = try await house.caller.call(Resources.apply, input, as: call)
        }
        let reader = Call(actor: "token:r", correlation: "", permission: .read)
        #expect(await #expect(throws: Problem.self) { try await apply(reader) }?.status == 403)
        let bound = Call(actor: "token:s", correlation: "", permission: .write, project: "shop")
        #expect(await #expect(throws: Problem.self) { try await apply(bound) }?.status == 403)
        try await apply(bound, project: "shop")
        #expect(try await model(house, "m", project: "shop").generation == 1)
        let agent = Call(actor: "token:a", correlation: "", permission: .agent)
        #expect(await #expect(throws: Problem.self) { try await apply(agent) }?.status == 403)
    }

    @Test func `a difference names the field, however deep`() {
        let old: JSONValue = ["a": ["b": [1, 2], "c": "x"], "gone": true]
        let new: JSONValue = ["a": ["b": [1, 3], "c": "x"], "new": 5]
        #expect(Difference.lines(from: old, to: new) == ["a.b: [1,2] → [1,3]", "gone: true → (default)", "new: 5"])
        #expect(Difference.lines(from: old, to: old).isEmpty)
    }
}

extension ResourceQuery {
    static func of(_ kind: String) -> ResourceQuery {
        var query = ResourceQuery()
        query.kind = kind
        return query
    }
}
