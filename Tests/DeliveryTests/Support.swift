import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Stats
import Testing

@testable import Delivery

/// A delivery domain on a fake platform, its loops turned by hand.
final class Rig: Sendable {
    let house: TestHouse
    let time: ManualTime
    let platform: FakePlatform
    let containers: FakePlatform
    let cluster: FakePlatform
    let secrets = FakeSecrets()
    let domain: DeliveryDomain

    private init(_ house: TestHouse, _ platform: FakePlatform, _ outside: (any MeasureOutside)?) {
        (self.house, self.platform, time) = (house, platform, house.time)
        containers = FakePlatform(time: house.time)
        let cluster = FakePlatform(time: house.time)
        self.cluster = cluster
        domain = DeliveryDomain(
            context: house.context,
            platforms: Platforms(processes: platform, containers: containers, clusters: { _ in cluster }),
            settings: DeliverySettings(
                serveCommand: ["/vagus", "serve"], predictions: "/predictions", requests: "/requests",
                outside: outside, secrets: secrets))
    }

    /// Opens a house, or what an earlier one left behind; models have as many versions as are asked for.
    static func open(
        folder: String? = nil, time: ManualTime = ManualTime(), platform: FakePlatform? = nil,
        outside: (any MeasureOutside)? = nil, commitHook: (@Sendable (Int) throws -> Void)? = nil,
        extra: (inout Routes) -> Void = { _ in }
    ) async throws -> Rig {
        let house = try TestHouse(folder: folder, time: time, commitHook: commitHook)
        let rig = Rig(house, platform ?? FakePlatform(time: time), outside)
        try await house.open([rig.domain]) { routes in
            extra(&routes)
            routes.on(Models.version) { input, _ in
                guard let number = Int(input.version) ?? ["champion": 1][input.version] else {
                    throw Problem(
                        "model.not-found", status: 404, "no version \"\(input.version)\" of model \"\(input.name)\"")
                }
                var version = ModelVersion()
                (version.model, version.version, version.digest) = (input.name, number, "sha256:\(input.name)\(number)")
                return version
            }
            // Version 66 is one that somebody has changed on the disk.
            routes.on(Models.verify) { input, _ in
                var result = ModelVerification()
                if input.version == "66" {
                    (result.outcome, result.problems) = (.changed, ["\"weights.bin\" is not what was registered"])
                }
                return result
            }
        }
        return rig
    }

    // MARK: - Loops

    func turn<R: Reconciler>(_ loop: R) async throws {
        for key in try await loop.keys() { _ = try await loop.reconcile(key) }
    }

    /// Turns all loops until nothing can follow any more at this moment.
    func settle(turns: Int = 4) async throws {
        for _ in 0..<turns {
            try await turn(domain.rolloutLoop)
            try await turn(domain.releaseLoop)
            try await turn(domain.startLoop(ofClusters: false))
            try await turn(domain.startLoop(ofClusters: true))
            try await turn(domain.probeLoop(ofClusters: false))
            try await turn(domain.probeLoop(ofClusters: true))
            try await turn(domain.lookout(ofClusters: false))
            try await turn(domain.lookout(ofClusters: true))
            try await turn(domain.stopLoop)
        }
    }

    /// Lets time pass in steps of a second, the loops turning.
    func pass(_ seconds: Int) async throws {
        for _ in 0..<seconds {
            time.advance(by: .seconds(1))
            try await settle(turns: 2)
        }
    }

    // MARK: - Verbs

    @discardableResult
    func deploy(_ key: String, name: String = "web", model: String? = nil, commit: String? = nil, at: Timestamp? = nil)
        async throws -> ServiceStatus
    {
        var input = DeployInput()
        (input.name, input.key, input.model, input.commit, input.committed_at) = (name, key, model, commit, at)
        return try await house.call(Services.deploy, input)
    }

    @discardableResult
    func promote(full: Bool = false) async throws -> ServiceStatus {
        var input = PromoteInput()
        (input.name, input.full) = ("web", full)
        return try await house.call(Services.promote, input)
    }

    @discardableResult
    func abort(_ reason: String? = nil) async throws -> ServiceStatus {
        var input = AbortInput()
        (input.name, input.reason) = ("web", reason)
        return try await house.call(Services.abort, input)
    }

    @discardableResult
    func pause(_ reason: String? = nil) async throws -> ServiceStatus {
        var input = HoldInput()
        (input.name, input.reason) = ("web", reason)
        return try await house.call(Services.pause, input)
    }

    @discardableResult
    func resume() async throws -> ServiceStatus {
        var input = HoldInput()
        input.name = "web"
        return try await house.call(Services.resume, input)
    }

    @discardableResult
    func retry() async throws -> ServiceStatus {
        try await house.call(Services.retry, Name(project: "default", name: "web"))
    }

    @discardableResult
    func undo(to revision: Int? = nil, isGradual: Bool = false) async throws -> ServiceStatus {
        var input = UndoInput()
        (input.name, input.revision, input.gradual) = ("web", revision, isGradual)
        return try await house.call(Services.undo, input)
    }

    func status(_ name: String = "web") async throws -> ServiceStatus {
        try await house.call(Services.status, Name(project: "default", name: name))
    }

    /// The routing table as it stands.
    func table() async throws -> RoutingTable { try await house.store.read { try RouteRow.table(in: $0) } }

    /// A proxy asks for a table other than the one it has.
    func ask(_ name: String = "proxy", have: Int64) async throws -> RoutingTable {
        var query = TableQuery()
        (query.name, query.have, query.url) = (name, have, "http://127.0.0.1:8480")
        return try await house.call(Proxies.table, query)
    }

    /// What a proxy tells: cumulative counts by revision, and the table it follows (the newest when nil).
    func report(
        _ counts: [Int: (requests: Int64, errors: Int64)] = [:], table: Int64? = nil, epoch: String = "1",
        microseconds: [Int: UInt64] = [:]
    ) async throws {
        var input = CountersInput()
        (input.name, input.epoch) = ("proxy", epoch)
        if let table { input.table = table } else { input.table = try await self.table().version }
        input.revisions = counts.sorted { $0.key < $1.key }.map { revision, count in
            var told = RevisionCount()
            (told.service, told.revision) = ("default/web", revision)
            (told.requests, told.errors) = count
            var histogram = LatencyHistogram()
            histogram.record(microseconds: microseconds[revision] ?? 1000)
            let place = histogram.buckets.firstIndex(of: 1) ?? 0
            told.latency = (0..<LatencyHistogram.bucketCount).map { $0 == place ? count.requests : 0 }
            return told
        }
        _ = try await house.call(Proxies.report, input)
    }

    /// Names of the events about the service, oldest first, those of copies left out.
    func story() async throws -> [String] {
        try await house.events().filter { $0.subject.kind == "Service" && !$0.name.hasPrefix("instance.") }.map(\.name)
    }

    func events(_ name: String) async throws -> [Event] { try await house.events(named: name) }
}

/// A service called web.
func web(_ rollout: String = "", replicas: Int = 1, command: String = "./web", more: String = "") -> String {
    """
    kind: Service
    name: web
    workload: { command: [\(command)], replicas: \(replicas) }
    \(rollout.isEmpty ? "" : "rollout: \(rollout)")
    \(more)
    """
}

extension ServiceStatus {
    func revision(_ number: Int) -> RevisionStatus? { revisions.first { $0.revision == number } }
    /// Weights by revision, those without left out.
    var weights: [Int: Int] {
        Dictionary(uniqueKeysWithValues: revisions.filter { $0.weight > 0 }.map { ($0.revision, $0.weight) })
    }
}

extension RoutingTable {
    /// Weights by revision of the service's route.
    var weights: [String: Int] {
        let revisions = routes.first?["revisions"]?.array ?? []
        return Dictionary(
            uniqueKeysWithValues: revisions.map { ($0["revision"]?.string ?? "", $0["weight"]?.int ?? -1) })
    }
}

/// The code of the problem that `body` throws.
func problem(_ body: () async throws -> Void) async -> Problem? {
    do {
        try await body()
        return nil
    } catch let problem as Problem {
        return problem
    } catch {
        Issue.record("\(error) is no problem")
        return nil
    }
}

/// A generator whose numbers are the same on every machine (SplitMix64; Steele, Lea and Flood 2014).
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
