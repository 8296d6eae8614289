import API
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
            throw Problem("feed.after", status: 400, "\"after\" is not a sequence number", hint: "Use the \"sequence\" of the last event seen, or 0.")
        }
        let isFree = open.withLock { count in
            guard count < Self.limit else { return false }
            count += 1
            return true
        }
        guard isFree else {
            throw Problem("feed.full", status: 429, "\(Self.limit) feeds are open already", hint: "Close one, or try again later.")
        }
        var response = Response(
            status: .ok,
            body: .init { writer in
                defer { self.open.withLock { $0 -= 1 } }
                try await self.write(after: after, project: call.project, to: &writer)
                try await writer.finish(nil)
            })
        response.headers[.contentType] = "text/event-stream"
        response.headers[.cacheControl] = "no-store"
        return response
    }

    private func write(after: Int64, project: String?, to writer: inout any ResponseBodyWriter) async throws {
        let bell = store.bells.listen(to: ["*"])
        defer { store.bells.remove(bell) }
        var query = EventQuery()
        query.after = after
        query.limit = Self.batch
        query.project = project
        try await writer.write(ByteBuffer(string: ": vagus events\n\n"))
        while true {
            let current = query
            let events = try await store.read { try EventLog.list(current, in: $0) }
            var buffer = ByteBuffer()
            for event in events {
                buffer.writeString("id: \(event.sequence)\nevent: event\ndata: \(event.json.text)\n\n")
                query.after = event.sequence
            }
            if buffer.readableBytes > 0 { try await writer.write(buffer) }
            if events.count == Self.batch { continue }
            let rang = try await bell.wait(until: store.time.now.advanced(by: .seconds(15)), by: store.time)
            if !rang { try await writer.write(ByteBuffer(string: ": still here\n\n")) }
        }
    }
}
