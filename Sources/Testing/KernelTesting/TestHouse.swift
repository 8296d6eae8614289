package import API
import Foundation
package import Kernel
import Logging
package import Manifests
package import SQL
import Synchronization

/// One house for one test: a folder, a database, a store on manual time, ids that count, and a caller.
///
///     let house = try TestHouse()
///     let domain = PipelinesDomain(context: house.context, …)
///     try await house.open([domain])
///     let run = try await house.caller.call(Runs.start, input, as: .system("test"))
///
/// The folder is removed when the house is let go.
package final class TestHouse: Sendable {
    /// Empty but for the database; for whatever the test needs.
    package let folder: String
    package let time: ManualTime
    package let database: Database
    package let store: Store
    package let caller: LateCaller
    package let context: DomainContext
    private let ownsFolder: Bool

    /// Opens a house.
    ///
    /// - Parameters:
    ///   - folder: The folder of an earlier house, to open what it left behind; nil: a new one.
    ///   - time: Where time comes from.
    ///   - firstID: The number of the first id; a house that opens an old folder begins above those already given.
    ///   - commitHook: See `Database.sqlite`: a throw at the n-th commit is a crash there.
    /// - Throws: What making the folder or opening the database throws.
    package init(
        folder: String? = nil, time: ManualTime = ManualTime(), firstID: Int = 1,
        commitHook: (@Sendable (Int) throws -> Void)? = nil
    ) throws {
        let place = folder ?? NSTemporaryDirectory() + "vagus-house-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        self.folder = place
        ownsFolder = folder == nil
        self.time = time
        database = try Database.sqlite(path: "\(place)/vagus.db", commitHook: commitHook)
        store = Store(database: database, time: time)
        caller = LateCaller()
        var logger = Logger(label: "vagus.test")
        logger.logLevel = .critical
        context = DomainContext(store: store, ids: .counting(from: firstID), caller: caller, logger: logger)
    }

    deinit {
        caller.disconnect()  // or its database would stay open, with threads of its own
        if ownsFolder { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
    }

    /// Migrates and connects these domains, the core among them, and lets `extra` add routes of fakes.
    package func open(_ domains: [any Domain], extra: (inout Routes) -> Void = { _ in }) async throws {
        let core = CoreDomain(context: context, others: domains, tokens: TokenBook(store: store))
        try await store.migrate(domains + [core])
        for domain in domains { try await domain.prepare() }
        var routes = Routes()
        for domain in domains + [core] { domain.routes(&routes) }
        extra(&routes)
        caller.connect(Switchboard(routes))
    }

    /// Applies manifests written in YAML, through the front door.
    @discardableResult
    package func apply(_ yaml: String, project: String = "default") async throws -> ApplyOutcome {
        var input = ApplyInput()
        input.project = project
        input.documents = try YAML.documents(yaml).map(\.value)
        return try await caller.call(Resources.apply, input, as: .system("test"))
    }

    /// Calls an operation as a part of the system.
    package func call<Input: Manifest, Output: Manifest>(
        _ operation: API.Operation<Input, Output>, _ input: Input
    ) async throws -> Output {
        try await caller.call(operation, input, as: .system("test"))
    }

    /// The events of the log, oldest first.
    package func events(named name: String? = nil) async throws -> [Event] {
        var query = EventQuery()
        query.after = 0
        query.limit = 1000
        query.name = name
        let final = query
        return try await store.read { try EventLog.list(final, in: $0) }
    }
}

extension IdentifierSource {
    /// Ids that count: "run_000001", "run_000002", … whatever the prefix.
    package static func counting(from first: Int = 1) -> IdentifierSource {
        let counter = Counter(first)
        return IdentifierSource { prefix in
            let digits = String(counter.next())
            let text = String(repeating: "0", count: max(0, 6 - digits.count)) + digits
            return prefix.isEmpty ? text : "\(prefix)_\(text)"
        }
    }

    private final class Counter: Sendable {
        private let value: Mutex<Int>
        init(_ first: Int) { value = Mutex(first) }
        func next() -> Int {
            value.withLock { value in
                defer { value += 1 }
                return value
            }
        }
    }
}
