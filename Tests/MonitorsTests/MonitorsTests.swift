import API
import Blobs
import Foundation
import Frames
import Kernel
import KernelTesting
import Manifests
import SQL
import Stats
import Synchronization
import Testing

@testable import Monitors

/// A house with the room of monitors, a reference made by hand, and a registry that answers what the test says.
struct MonitorRoom {
    let house: TestHouse
    let domain: MonitorsDomain
    let blobs: BlobStore
    /// The version that every alias points to; nil: none.
    let champion: Champion
    let service = Reference<ServiceKind>(project: "default", name: "churn")
    let monitor = Reference<MonitorKind>(project: "default", name: "churn")

    final class Champion: Sendable {
        let version: Mutex<ModelVersion?>
        init(_ version: ModelVersion?) { self.version = Mutex(version) }
    }

    static let manifest = """
        kind: Monitor
        name: churn
        service: churn
        model: churn@champion
        window: {every: year, min_rows: 30}
        labels: {coverage: 0.5}
        checks:
          drift: {threshold: 0.1}
          performance: {metrics: {auc: {min: 0.6}}}
          bias: {by: [sex], min_cell: 20, max_tpr_gap: 0.2, min_selection_ratio: 0.5}
        """

    init(
        folder: String? = nil, time: ManualTime = ManualTime(), manifest: String? = MonitorRoom.manifest,
        commitHook: (@Sendable (Int) throws -> Void)? = nil
    ) async throws {
        house = try TestHouse(folder: folder, time: time, firstID: folder == nil ? 1 : 1000, commitHook: commitHook)
        blobs = try BlobStore(folder: "\(house.folder)/blobs")
        let settings = MonitorsSettings(predictions: "\(house.folder)/predictions")
        domain = MonitorsDomain(context: house.context, blobs: blobs, settings: settings)
        let champion = Champion(try await Self.version(1, shift: 0, blobs, in: house.folder))
        self.champion = champion
        try await house.open([domain]) { routes in
            routes.on(Models.version) { input, _ in
                guard let version = champion.version.withLock({ $0 }), input.name == "churn" else {
                    throw Problem.notFound("Model", input.name, project: input.project, list: "models")
                }
                return version
            }
        }
        try FileManager.default.createDirectory(atPath: predictions, withIntermediateDirectories: true)
        if let manifest { try await house.apply(manifest) }
    }

    var predictions: String { "\(house.folder)/predictions/default/churn" }

    /// A version whose folder holds a reference of 200 rows: age 0…99 twice, sex half and half, scores age / 100.
    static func version(_ number: Int, shift: Double, _ blobs: BlobStore, in folder: String) async throws
        -> ModelVersion
    {
        let place = "\(folder)/model-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        let ages = (0..<200).map { Double($0 % 100) + shift }
        let frame = try Frame([
            (ColumnSchema("age", .float), .floats(ages.map { $0 })),
            (ColumnSchema("sex", .category), .categories((0..<200).map { $0 % 2 == 0 ? "f" : "m" })),
            (ColumnSchema("member", .bool), .bools((0..<200).map { $0 % 4 == 0 })),
            (ColumnSchema("elsewhere", .float), .floats(ages.map { $0 })),
            (ColumnSchema("since", .timestamp), .timestamps((0..<200).map { Int64($0) })),
            (ColumnSchema("__score", .float), .floats((0..<200).map { Double($0 % 100) / 100 })),
            (ColumnSchema("__label", .int), .ints((0..<200).map { $0 % 100 >= 50 ? 1 : 0 })),
        ])
        try frame.write(path: "\(place)/reference.vgf")
        try Data("weights".utf8).write(to: URL(filePath: "\(place)/model.bin"))
        var version = ModelVersion()
        (version.model, version.version) = ("churn", number)
        version.digest = try await Tree.pack(folder: place, into: blobs).digest.description
        return version
    }

    // MARK: Prediction files

    static func micros(_ time: String) -> Int64 { Timestamp(time)?.microseconds ?? -1 }

    static func line(_ id: String, at time: String, age: String, sex: String, score: Double) -> String {
        "{\"id\":\"\(id)\",\"at\":\(micros("2026-01-05T07:00:00Z")),\"event_time\":\(micros(time)),"
            + "\"model\":\"churn\",\"version\":\"1\",\"features\":{\"age\":\(age),\"member\":\(age.hasPrefix("4")),"
            + "\"sex\":\(sex)},\"score\":\(score)}\n"
    }

    /// Rows distributed as the reference is, their ages moved.
    static func lines(_ prefix: String, at time: String, count: Int = 200, older: Double = 0) -> String {
        (0..<count).map { row in
            let age = Double(row % 100) + older
            let sex = row % 2 == 0 ? "\"f\"" : "\"m\""
            let member = row % 4 == 0
            return "{\"id\":\"\(prefix)\(row)\",\"at\":\(micros(time)),\"event_time\":null,\"model\":\"churn\","
                + "\"version\":\"1\",\"features\":{\"age\":\(age),\"member\":\(member),\"sex\":\(sex)},"
                + "\"score\":\(Double(row % 100) / 100)}\n"
        }.joined()
    }

    func write(_ text: String, to file: String = "a-000001.jsonl") throws {
        let path = "\(predictions)/\(file)"
        let folder = URL(filePath: path).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        if !FileManager.default.fileExists(atPath: path) {
            try Data().write(to: URL(filePath: path))
        }
        let handle = try FileHandle(forWritingTo: URL(filePath: path))
        defer { handle.closeFile() }
        handle.seekToEndOfFile()
        handle.write(Data(text.utf8))
    }

    // MARK: Work

    /// Steps until there is nothing left to do at once.
    func ingest() async throws { while try await domain.ingest.reconcile(service) == .now {} }
    func analyse() async throws { while try await domain.analysis.reconcile(monitor) == .now {} }

    /// Reads what is there, lets it become quiet, and computes.
    func work() async throws {
        try await ingest()
        house.time.advance(by: .seconds(3))
        try await analyse()
    }

    func report() async throws -> MonitorReport {
        try await house.call(Monitors.report, Name(project: "default", name: "churn"))
    }

    func label(_ labels: [(String, Double)]) async throws -> Int {
        var input = LabelsInput()
        input.name = "churn"
        input.labels = labels.map { id, label in
            var item = LabelInput()
            (item.id, item.label) = (id, label)
            return item
        }
        return try await house.call(Monitors.label, input).accepted
    }

    func typed() async throws -> TypedResource<MonitorKind>? {
        let monitor = monitor
        return try await house.store.read { try $0.resource(MonitorKind.self, monitor) }
    }

    func healthy() async throws -> Condition? { try await typed()?.conditions.first { $0.name == "Healthy" } }

    func sums() async throws -> ServiceSums {
        let service = service
        return try await house.store.read { try $0.sums(of: service) }
    }

    func predictionCount() async throws -> Int {
        try await house.store.read { try $0.value("SELECT count(*) FROM monitors_prediction") ?? -1 }
    }
}

@Suite struct MonitorsTests {
    @Test func `a window like the reference has not drifted and one that moved has`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try room.write(MonitorRoom.lines("b", at: "2018-03-01T00:00:00Z", older: 30))
        try await room.work()
        let report = try await room.report()
        #expect(report.windows.map(\.window) == ["2017", "2018"])
        #expect(report.windows.map(\.rows) == [200, 200])
        #expect(report.windows.map(\.state) == [.ok, .drift])
        #expect(report.windows[0].features.allSatisfy { $0.effect < 1e-12 && !$0.drifted })
        let age = try #require(report.windows[1].features.first)
        #expect(age.feature == "age" && age.method == "wasserstein_norm" && age.drifted)
        // The standard deviation of 0…99 is √((100² - 1) / 12).
        #expect(abs(age.effect - 30 / (9999.0 / 12).squareRoot()) < 1e-9)
        #expect(report.windows[1].prediction?.drifted == false)
        #expect(report.model == "churn@1" && report.reference_rows == 200)
        #expect(report.reference_metrics["auc"] == 1)
    }

    @Test func `what predictions do not carry and what only moves with time is not compared`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.work()
        #expect(try await room.report().windows[0].features.map(\.feature).sorted() == ["age", "member", "sex"])
    }

    @Test func `values spelled otherwise are the same values`() async throws {
        let room = try await MonitorRoom()
        let text = MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z")
            .replacingOccurrences(of: "\"member\":true", with: "\"member\": 1.0 ")
            .replacingOccurrences(of: "\"member\":false", with: "\"member\":0")
            .replacingOccurrences(of: "\"sex\":\"f\"", with: "\"s\\u0065x\":\"\\u0066\"")
        try room.write(text)
        try await room.work()
        let window = try #require(try await room.report().windows.first)
        #expect(window.state == .ok)
        #expect(window.features.map(\.feature).sorted() == ["age", "member", "sex"])
        #expect(window.features.allSatisfy { $0.effect < 1e-12 && $0.missing_current == 0 })
    }

    @Test func `missing values are counted and not compared`() async throws {
        let room = try await MonitorRoom()
        for row in 0..<100 {
            let age = row < 25 ? "null" : "\(row)"
            try room.write(
                MonitorRoom.line("r\(row)", at: "2019-01-01", age: age, sex: row < 50 ? "null" : "\"f\"", score: 0.5))
        }
        try await room.work()
        let features = try await room.report().windows[0].features
        #expect(features.first { $0.feature == "age" }?.missing_current == 0.25)
        #expect(features.first { $0.feature == "sex" }?.missing_current == 0.5)
        // All that have one are f: half against (½, ½) is the distance √(1 - ¾·log₂3 + ½) of Jensen and Shannon.
        let js = (1.5 - 0.75 * 3.0.logarithm2).squareRoot()
        #expect(abs((features.first { $0.feature == "sex" }?.effect ?? 0) - js) < 1e-9)
    }

    @Test func `a small window says nothing`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z", count: 29, older: 500))
        try await room.work()
        let window = try await room.report().windows[0]
        #expect(window.state == .insufficient_data && window.features.isEmpty && window.rows == 29)
        #expect(try await room.healthy()?.truth == .unknown)
    }

    @Test func `late labels restate a window and the last label wins`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.work()
        var window = try await room.report().windows[0]
        #expect(window.performance.isEmpty && window.labelled == 0 && window.restated == 0)
        // Wrong on purpose: the truth follows.
        #expect(try await room.label((0..<200).map { ("a\($0)", $0 % 100 < 50 ? 1 : 0) }) == 200)
        try await room.work()
        window = try await room.report().windows[0]
        #expect(window.performance["auc"] == 0 && window.restated == 1 && window.coverage == 1)
        #expect(window.state == .breach && window.breaches.contains("auc 0.0 is below 0.6"))
        let truth = (0..<200).map { $0 % 100 >= 45 ? 1.0 : 0.0 }
        _ = try await room.label(truth.enumerated().map { ("a\($0.offset)", $0.element) })
        try await room.work()
        window = try await room.report().windows[0]
        let scores = (0..<200).map { Double($0 % 100) / 100 }
        let labels = truth.map { $0 == 1 }
        #expect(window.performance["auc"] == 1 && window.restated == 2)
        #expect(window.performance["brier"] == (try Classification.brier(scores: scores, labels: labels)))
        #expect(window.performance["recall"] == 100.0 / 110)
        #expect(window.performance["precision"] == 1)
        let again = try await room.sums()
        _ = try await room.label([("a0", 0)])
        #expect(try await room.sums() == again, "a label that was known already changes nothing")
        #expect(try await room.house.events(named: "monitor.window-told").count == 1)
        #expect(try await room.house.events(named: "monitor.breach").count == 1)
        #expect(try await room.typed()?.status?.labelled == 200)
    }

    @Test func `labels that come before their predictions wait for them`() async throws {
        let room = try await MonitorRoom()
        _ = try await room.label([("a0", 1), ("a1", 1), ("never", 1)])
        _ = try await room.label([("a1", 0)])
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z", count: 40))
        try await room.ingest()
        let rows = try await room.house.store.read { sql in
            try sql.rows("SELECT id, label FROM monitors_prediction WHERE label IS NOT NULL ORDER BY id")
                .map { (try $0.get(0, as: String.self), try $0.get(1, as: Double.self)) }
        }
        #expect(rows.map(\.0) == ["a0", "a1"] && rows.map(\.1) == [1, 0])
        #expect(try await room.sums().labelled == 2)
        let service = room.service
        #expect(try await room.house.store.read { try $0.waitingLabels(of: service) } == 1)
    }

    @Test func `labels below the coverage are no performance yet`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.ingest()
        _ = try await room.label((0..<99).map { ("a\($0)", 1) })
        try await room.work()
        let window = try await room.report().windows[0]
        #expect(window.labelled == 99 && window.performance.isEmpty && window.state == .ok)
        #expect(window.bias["sex"]?["with_labels"]?.bool == false)
        #expect(window.bias["sex"]?["tpr_gap"] == nil)
        #expect(window.bias["sex"]?["selection_ratio"]?.double != nil)
    }

    @Test func `groups that are treated otherwise are a breach that is told once`() async throws {
        let room = try await MonitorRoom()
        for row in 0..<130 {
            let sex = row < 120 ? (row % 2 == 0 ? "\"f\"" : "\"m\"") : "\"x\""
            try room.write(
                MonitorRoom.line(
                    "r\(row)", at: "2019-05-05", age: "\(row % 100)", sex: sex, score: row % 2 == 0 ? 0.9 : 0.1))
        }
        try await room.ingest()
        _ = try await room.label((0..<130).map { ("r\($0)", $0 % 4 < 2 ? 1 : 0) })
        try await room.work()
        let window = try await room.report().windows[0]
        let bias = try #require(window.bias["sex"])
        #expect(bias["tpr_gap"]?.double == 1 && bias["selection_ratio"]?.double == 0)
        #expect(bias["groups"]?.array?.compactMap { $0["name"]?.string } == ["f", "m"])
        #expect(bias["left_out"]?[0]?["name"]?.string == "x" && bias["left_out"]?[0]?["n"]?.int == 10)
        #expect(window.breaches.contains("tpr_gap by sex 1.0 is above 0.2"))
        #expect(window.breaches.contains("selection_ratio by sex 0.0 is below 0.5"))
        #expect(try await room.healthy()?.truth == .no)
        #expect(try await room.typed()?.status?.breaches == window.breaches)
        try await room.work()
        #expect(try await room.house.events(named: "monitor.breach").count == 1)
    }

    @Test func `where all labels are alike there is no auc`() async throws {
        let metrics = Performance.metrics(scores: [0.1, 0.2, 0.3], labels: [0, 0, 0], threshold: 0.5)
        #expect(metrics["auc"] == nil && metrics["recall"] == nil && metrics["precision"] == nil)
        #expect(metrics["f1"] == nil && metrics["accuracy"] == 1 && metrics["brier"] != nil)
        #expect(Performance.metrics(scores: [0.1], labels: [7], threshold: 0.5).isEmpty)
    }

    @Test func `requests for labels are checked`() async throws {
        let room = try await MonitorRoom()
        let tooMany = (0...LabelsInput.limit).map { ("a\($0)", 1.0) }
        #expect(await #expect(throws: Problem.self) { try await room.label(tooMany) }?.status == 413)
        #expect(await #expect(throws: Problem.self) { try await room.label([("", 1)]) }?.status == 422)
        var input = LabelsInput()
        input.name = "nobody"
        let wanted = input
        let problem = await #expect(throws: Problem.self) { try await room.house.call(Monitors.label, wanted) }
        #expect(problem?.status == 404)
        #expect(try await room.label(Array(tooMany.dropLast())) == LabelsInput.limit)
    }

    @Test func `a report of a monitor that nobody knows is not found`() async throws {
        let room = try await MonitorRoom(manifest: nil)
        #expect(await #expect(throws: Problem.self) { try await room.report() }?.status == 404)
    }

    @Test(arguments: ["churn@", "@champion", "a@b@c", "Bad Name", ""])
    func `a model that cannot be one is refused at once`(model: String) async throws {
        let room = try await MonitorRoom(manifest: nil)
        await #expect(throws: Problem.self) {
            try await room.house.apply("kind: Monitor\nname: m\nservice: churn\nmodel: \"\(model)\"")
        }
    }
}

extension Double {
    fileprivate var logarithm2: Double { Foundation.log2(self) }
}
