import API
import Kernel

extension Visitor {
    func events(audit: AuditOutcome?) async throws -> WebResponse {
        try await render {
            var query = EventQuery()
            (query.name, query.actor, query.subject) = (typed("name"), typed("actor"), typed("subject"))
            query.before = typed("before").flatMap(Int64.init)
            (query.limit, query.project) = (EventsPage.limit, call.project)
            return EventsPage(try await ask(Events.list, query).items, query: query, audit: audit, now: now)
        }
    }

    func resources(of word: String) async throws -> WebResponse {
        let kind = try Kinds.named(word)
        return try await render(title: kind.plural) { ResourcesPage(try await resources(kind), kind: kind, now: now) }
    }

    func resource(_ word: String, _ name: String) async throws -> WebResponse {
        let kind = try Kinds.named(word)
        return try await render(title: name) {
            var query = EventQuery()
            (query.project, query.kind, query.subject, query.limit) = (project, kind.name, name, 20)
            let asked = query
            async let events = ask(Events.list, asked)
            async let one = resource(kind, name)
            return ResourcePage(try await one, kind: kind, events: try await events.items, now: now)
        }
    }
}
