import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Experiments

@Suite struct RegistrationTests {
    private func refused(_ rules: String, _ change: (inout ModelVersion) -> Void = { _ in }) async throws -> String? {
        let room = try await RegistryHouse()
        try await room.house.apply("kind: Model\nname: churn\n\(rules)\n")
        let problem = await refusal { try await room.register { change(&$0) } }
        if problem != nil { #expect(try await room.events().last == "model.registration-refused") }
        return problem?.message
    }

    @Test func `a version brings what its model requires`() async throws {
        #expect(
            try await refused("required: [owner]")
                == "model \"churn\" wants \"owner\", and the version does not bring it")
        #expect(try await refused("required: [owner]") { $0.tags["owner"] = "ana" } == nil)
        #expect(try await refused("required: [commit]")?.contains("commit") == true)
    }

    @Test func `metrics must be there and within bounds`() async throws {
        let rules = "validation: { metrics: { auc: { min: 0.75, max: 1 } } }"
        #expect(try await refused(rules) == nil)
        #expect(try await refused(rules) { $0.metrics["auc"] = 0.7 }?.contains("at least 0.75") == true)
        #expect(try await refused(rules) { $0.metrics = [:] }?.contains("wants the metric \"auc\"") == true)
        #expect(try await refused(rules) { $0.metrics["auc"] = .nan } != nil)
    }

    @Test func `files may be too large`() async throws {
        #expect(try await refused("validation: { max_size: 1 }")?.contains("takes at most") == true)
    }

    @Test func `a sample must be there, and fit`() async throws {
        let room = try await RegistryHouse()
        try await room.house.apply("kind: Model\nname: churn\nvalidation: { sample: true }\n")
        func take(_ files: [String: String]) async -> String? {
            await refusal {
                try await room.register("churn", files) {
                    $0.signature = ["inputs": [["name": "x", "type": "double"]]]
                }
            }?.message
        }
        #expect(await take(["m": "1"])?.contains("wants rows to try") == true)
        #expect(
            await take(["m": "1", "input_example.json": #"{"columns": ["y"], "data": [[1]]}"#])?.contains(
                "has no \"x\"") == true)
        #expect(await take(["m": "1", "input_example.json": #"{"columns": ["x"], "data": [[1]]}"#]) == nil)
    }

    @Test func `what must load is tried with the rows it brings, and what its registrar says of it does not count`()
        async throws
    {
        let room = try await RegistryHouse(trial: { _, rows in
            guard let rows = rows?["dataframe_records"]?.array else { return ["loads": false, "reason": "no rows"] }
            return ["loads": true, "rows": .integer(Int64(rows.count))]
        })
        try await room.house.apply("kind: Model\nname: churn\nvalidation: { loads: true }\n")
        func take(_ files: [String: String]) async -> String? {
            await refusal {
                try await room.register("churn", files) { $0.facts["loading"] = ["loads": true] }
            }?.message
        }
        #expect(await take(["weights.bin": "1"])?.contains("nothing here can load these") == true)
        #expect(await take(["model.json": "{}"])?.contains("wants its files to load: no rows") == true)
        let rows = #"{"columns": ["x"], "data": [[1], [2]]}"#
        let version = try await room.register("churn", ["model.json": "{}", "input_example.json": rows])
        #expect(version.facts["loading"] == ["loads": true, "rows": 2])
        let untried = try await RegistryHouse()
        let plain = try await untried.register { $0.facts["loading"] = ["loads": true] }
        #expect(plain.facts["loading"] == nil)
    }

    @Test func `a compatible model stays so, at registration and when an alias moves`() async throws {
        let room = try await RegistryHouse()
        try await room.house.apply("kind: Model\nname: churn\ncompatibility: backward\nversioning: semantic\n")
        func add(_ run: String, _ type: String) async throws -> ModelVersion {
            try await room.register("churn", ["m": run], run: run) {
                $0.signature = ["inputs": [["name": "x", "type": .string(type)]]]
            }
        }
        #expect(try await add("a", "integer").label == "1.0.0")
        #expect(try await add("b", "long").label == "1.1.0")
        #expect(await refusal { try await add("c", "integer") }?.code == "model.rule")
        _ = try await room.alias("champion", 2)
        // Back to the narrower one would break whoever calls now.
        #expect(await refusal { try await room.alias("champion", 1) }?.code == "model.incompatible")
        let found = try await room.call(
            Models.version, ModelVersionName(project: "default", name: "churn", version: "1.1.0"))
        #expect(found.version == 2)
    }

    @Test func `aliases swap together, or not at all`() async throws {
        let room = try await RegistryHouse()
        for run in ["a", "b"] { try await room.register("churn", ["m": run], run: run) }
        _ = try await room.alias("champion", 1)
        _ = try await room.alias("challenger", 2)
        var swap = AliasesInput()
        swap.name = "churn"
        swap.aliases = ["champion": 2, "challenger": 1]
        swap.expected = ["champion": 1, "challenger": 1]
        let wrong = swap
        #expect(await refusal { try await room.call(Models.moveAliases, wrong) }?.code == "model.alias-moved")
        let before = try await room.call(Models.versions, Name(project: "default", name: "churn"))
        #expect(before.items.map(\.aliases) == [["challenger"], ["champion"]])
        swap.expected = ["champion": 1, "challenger": 2]
        let right = swap
        let after = try await room.call(Models.moveAliases, right)
        #expect(after.items.map(\.aliases) == [["champion"], ["challenger"]])
    }

    @Test func `a number is never given twice`() async throws {
        let room = try await RegistryHouse()
        for run in ["a", "b"] { try await room.register("churn", ["m": run], run: run) }
        _ = try await room.call(Models.remove, ModelVersionName(project: "default", name: "churn", version: "2"))
        #expect(try await room.register("churn", ["m": "c"], run: "c").version == 3)
    }

    @Test func `pruning spares what is referred to, and says what it would take`() async throws {
        let room = try await RegistryHouse()
        for run in ["a", "b", "c", "d"] { try await room.register("churn", ["m": "\(run)\(run)"], run: run) }
        try await room.register("churn", ["m": "x"], run: "e") { $0.parent = "churn@2" }
        _ = try await room.alias("champion", 1)
        room.house.time.advance(by: .seconds(86_400 * 2))
        var input = ModelPruneInput()
        (input.name, input.dry_run, input.keep, input.after) = ("churn", true, 1, .days(1))
        let dry = input
        let plan = try await room.call(Models.prune, dry)
        #expect(plan.removed.map(\.version) == [4, 3])
        #expect(plan.bytes == 4)
        #expect(plan.kept.map(\.version) == [2, 1])
        #expect(plan.kept.map(\.reason) == ["version 5 was made from it", "alias \"champion\" points to it"])
        #expect(try await room.call(Models.versions, Name(project: "default", name: "churn")).items.count == 5)
        input.dry_run = false
        let wet = input
        #expect(try await room.call(Models.prune, wet).removed.map(\.version) == [4, 3])
        #expect(
            try await room.call(Models.versions, Name(project: "default", name: "churn")).items.map(\.version) == [
                5, 2, 1,
            ])
    }

    @Test func `two versions side by side tell what differs`() async throws {
        let room = try await RegistryHouse()
        try await room.register("churn", ["m": "1", "gone": "1"], run: "a") {
            $0.signature = ["inputs": [["name": "x", "type": "double"]]]
        }
        try await room.register("churn", ["m": "2", "new": "1"], run: "b") {
            $0.signature = ["inputs": [["name": "x", "type": "double"], ["name": "z", "type": "long"]]]
            $0.metrics["auc"] = 0.9
        }
        var input = ModelComparison()
        (input.name, input.from, input.to) = ("churn", "1", "latest")
        let wanted = input
        let difference = try await room.call(Models.compare, wanted)
        #expect(!difference.is_backward)
        #expect(difference.breaks.first == "input \"z\" is new and required")
        #expect(difference.files == ["- gone", "~ m", "+ new"])
        #expect(difference.lines.contains { $0.contains("auc") })
    }
}
