package import API
package import Logging
package import SQL

/// One room of the house: everything the server must know to have a domain in it.
package protocol Domain: Sendable {
    /// Prefix of tables, metrics and log labels: "pipelines".
    static var name: String { get }
    var migrations: [Migration] { get }
    /// Opens what this room keeps beside the store, before anything is asked of it.
    func prepare() async throws
    /// Adds what this domain does for each of its operations.
    func routes(_ routes: inout Routes)
    /// Protocols of others that this domain answers.
    var mounts: [Mount] { get }
    /// What runs for the life of the server.
    var loops: [any RunnableLoop] { get }
    /// A chance to refuse a resource that is about to be put: rules that need the store.
    func admit(_ candidate: Candidate, in change: Change) throws
    /// A chance to refuse a removal.
    func release(_ resource: Resource, in change: Change) throws
    /// Texts of this room's rows in which digests of blobs stand; what none of them names is swept away.
    func namesOfContent(in sql: Connection) throws -> [String]
    /// The same for what this room keeps beside the store.
    func namesOfOwnContent() async throws -> [String]
}

extension Domain {
    package var migrations: [Migration] { [] }
    package var loops: [any RunnableLoop] { [] }
    package var mounts: [Mount] { [] }
    package func admit(_ candidate: Candidate, in change: Change) throws {}
    package func release(_ resource: Resource, in change: Change) throws {}
    package func namesOfContent(in sql: Connection) throws -> [String] { [] }
    package func namesOfOwnContent() async throws -> [String] { [] }
    package func prepare() async throws {}
}

/// What every domain is handed.
package struct DomainContext: Sendable {
    package let store: Store
    package let ids: IdentifierSource
    /// The front door, for what another domain does.
    package let caller: any OperationCaller
    package let logger: Logger
    /// Where to count what happens.
    package let instruments: Instruments

    package init(
        store: Store, ids: IdentifierSource, caller: any OperationCaller, logger: Logger,
        instruments: Instruments = Instruments()
    ) {
        (self.store, self.ids, self.caller, self.logger) = (store, ids, caller, logger)
        self.instruments = instruments
    }

    package var time: any TimeSource { store.time }

    package func logger(for domain: String) -> Logger {
        var logger = Logger(label: "vagus.\(domain)", factory: { _ in self.logger.handler })
        logger.logLevel = self.logger.logLevel
        return logger
    }
}
