import API
import HTTPTypes
import Hummingbird
import Kernel
import Manifests
import NIOCore
import Synchronization

/// The live feed: events as server-sent events, those of the past first, each once, without gaps.
final class EventFeed: Sendable {
    private let store: Store
    private let open = Mutex(0)
    /// Feeds that may be open at once.
    static let limit = 512
    /// Events read at once.
    private static let batch = 500

    init(store: Store) { self.store = store }

    func respond(to request: Request, call: Call) throws -> Response {
        try call.allow(.read, operation: "events.feed")
        let last = HTTPField.Name("Last-Event-ID").flatMap { request.headers[$0] }
        let text = last ?? request.uri.queryParameters["after"].map(String.init)
        guard let after = Int64(text ?? "0"), after >= 0 else {
            throw Problem(
                "feed.after", status: 400, "\"after\" is not a sequence number",
                hint: "Use the \"sequence\" of the last event seen, or 0.")
        }
        let isFree = open.withLock { count in
            guard count < Self.limit else { return false }
            count += 1
            return true
        }
        guard isFree else {
            throw Problem(
                "feed.full", status: 429, "\(Self.limit) feeds are open already", hint: "Close one, or try again later."
            )
        }
        var response = Response(
            status: .ok,
            body: .init { writer in
                let bell = self.store.bells.listen(to: ["*"])
                defer {
                    self.store.bells.remove(bell)
                    self.open.withLock { $0 -= 1 }
                }
                try await writer.write(ByteBuffer(string: ": vagus events\n\n"))
                var reader = Reader(store: self.store, after: after, project: call.project)
                while let news = try await reader.next(bell) { try await writer.write(news) }
                try await writer.finish(nil)
            })
        response.headers[.contentType] = "text/event-stream"
        response.headers[.cacheControl] = "no-store"
        return response
    }

    /// Reads on from where it stopped.
    private struct Reader {
        let store: Store
        var query = EventQuery()

        init(store: Store, after: Int64, project: String?) {
            self.store = store
            query.after = after
            query.limit = EventFeed.batch
            query.project = project
        }

        /// The next events, or, when none came for a while, a sign of life; nil when the server stops.
        mutating func next(_ bell: Bell) async throws -> ByteBuffer? {
            while !store.bells.isClosed {
                let current = query
                let events = try await store.read { try EventLog.list(current, in: $0) }
                if let last = events.last {
                    query.after = last.sequence
                    return ByteBuffer(
                        string: events.map { "id: \($0.sequence)\nevent: event\ndata: \($0.json.text)\n\n" }.joined())
                }
                let rang = try await bell.wait(until: store.time.now.advanced(by: .seconds(15)), by: store.time)
                if !rang { return ByteBuffer(string: ": still here\n\n") }
            }
            return nil
        }
    }
}
