public import Manifests

/// Every operation on declared things, whatever their kind.
public enum Resources {
    public static let apply = Operation<ApplyInput, ApplyOutcome>(
        "resources.apply", .post, "/api/v1/apply", needs: .write,
        "Makes what is wanted so: all documents in one transaction, or none.")
    public static let list = Operation<ResourceQuery, ItemList<Resource>>(
        "resources.list", .get, "/api/v1/projects/{project}/resources/{kind}", needs: .read,
        "Lists the things of one kind.")
    public static let get = Operation<ResourceName, Resource>(
        "resources.get", .get, "/api/v1/projects/{project}/resources/{kind}/{name}", needs: .read, "Shows one thing.")
    public static let delete = Operation<ResourceName, Resource>(
        "resources.delete", .delete, "/api/v1/projects/{project}/resources/{kind}/{name}", needs: .write,
        "Removes one thing; what runs for it is stopped.")
}

public struct ApplyInput: Manifest {
    /// Manifests in their flat form.
    public var documents: [JSONValue] = []
    public var project = "default"
    public var dry_run = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("documents", \.documents, "Manifests, each with \"kind\" and \"name\"."),
        .optional("project", \.project, "Project of documents that name none."),
        .optional("dry_run", \.dry_run, "Only tells what would change."),
    ]
}

public struct ApplyOutcome: Manifest {
    public var items: [Applied] = []
    public init() {}
    public static let fields: [Field<Self>] = [.told("items", \.items, "What became of each document.")]
}

public struct Applied: Manifest {
    public enum Change: String, WireEnum { case created, changed, unchanged }
    public var kind = ""
    public var project = ""
    public var name = ""
    public var change = Change.unchanged
    public var generation = 0
    /// One line a changed field: "workload.replicas: 1 → 2".
    public var difference: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("kind", \.kind, "Its kind."),
        .told("project", \.project, "Its project."),
        .told("name", \.name, "Its name."),
        .told("change", \.change, "What became of it."),
        .told("generation", \.generation, "Its generation now."),
        .told("difference", \.difference, "One line for each changed field."),
    ]
}

public struct ResourceQuery: Manifest {
    public var project = "default"
    public var kind = ""
    /// "team=ml,tier=gold"
    public var labels: String?
    public var limit = 1000
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .required("kind", \.kind, "Kind, in its plural form."),
        .optional("labels", \.labels, "Only things that have these labels: \"team=ml,tier=gold\"."),
        .optional("limit", \.limit, "At most this many.", in: 1...10000),
        .optional("after", \.after, "Where the page before ended."),
    ]
}

public struct ResourceName: Manifest {
    public var project = "default"
    public var kind = ""
    public var name = ""
    public init() {}
    public init(project: String, kind: String, name: String) {
        (self.project, self.kind, self.name) = (project, kind, name)
    }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("kind", \.kind, "Its kind, in its plural form."),
        .required("name", \.name, "Its name."),
    ]
}

/// Every operation on the event log.
public enum Events {
    public static let list = Operation<EventQuery, ItemList<Event>>(
        "events.list", .get, "/api/v1/event-log", needs: .read, "Lists what happened, newest first.")
    public static let verify = Operation<Nothing, AuditOutcome>(
        "events.verify", .post, "/api/v1/event-log/verify", needs: .read,
        "Walks the hash chain and names the first event that does not fit.")
}

public struct EventQuery: Manifest {
    public var name: String?
    public var kind: String?
    public var subject: String?
    public var project: String?
    public var actor: String?
    public var correlation: String?
    /// Only events before this sequence.
    public var before: Int64?
    /// Only events after this sequence, oldest first.
    public var after: Int64?
    public var limit = 100
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("name", \.name, "Only events of this name; \"run.*\" takes all of a kind."),
        .optional("kind", \.kind, "Only events about this kind."),
        .optional("subject", \.subject, "Only events about the thing of this name."),
        .optional("project", \.project, "Only events of this project."),
        .optional("actor", \.actor, "Only what this actor did."),
        .optional("correlation", \.correlation, "Only what this request or run set off."),
        .optional("before", \.before, "Only events before this sequence number."),
        .optional("after", \.after, "Only events after this sequence number, oldest first."),
        .optional("limit", \.limit, "At most this many.", in: 1...1000),
    ]
}

public struct AuditOutcome: Manifest {
    public var intact = true
    public var events: Int64 = 0
    /// First event that does not fit, if any.
    public var first_bad: Int64?
    public var message = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("intact", \.intact, "Whether every event is as it was written."),
        .told("events", \.events, "How many events were read."),
        .optional("first_bad", \.first_bad, "Sequence number of the first event that does not fit."),
        .told("message", \.message, "What was found, for people."),
    ]
}

/// Every operation on access tokens.
public enum Tokens {
    public static let create = Operation<TokenInput, NewToken>(
        "tokens.create", .post, "/api/v1/tokens", needs: .admin, "Makes a token; its secret is told this once.")
    public static let list = Operation<Nothing, ItemList<Token>>(
        "tokens.list", .get, "/api/v1/tokens", needs: .admin, "Lists tokens, without their secrets.")
    public static let revoke = Operation<TokenName, Token>(
        "tokens.revoke", .delete, "/api/v1/tokens/{name}", needs: .admin, "Makes a token worthless at once.")
    /// Turns the single-use token that the first start printed into a lasting admin token.
    public static let redeem = Operation<TokenInput, NewToken>(
        "tokens.redeem", .post, "/api/v1/tokens/redeem", needs: .read,
        "Turns the single-use token of the first start into a lasting one.")
}

public struct TokenInput: Manifest {
    public var name = ""
    public var permission = Permission.read
    public var project: String?
    public var expires: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "What the token is called in the event log."),
        .optional("permission", \.permission, "What it may do."),
        .optional("project", \.project, "The only project it may touch; all when absent."),
        .optional("expires", \.expires, "How long it is good for."),
    ]
}

public struct TokenName: Manifest {
    public var name = ""
    public init() {}
    public static let fields: [Field<Self>] = [.required("name", \.name, "Name of the token.")]
}

public struct Token: Manifest {
    public var name = ""
    public var permission = Permission.read
    public var project: String?
    public var created_at = Timestamp.zero
    public var expires_at: Timestamp?
    public var last_used_at: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "What the token is called."),
        .told("permission", \.permission, "What it may do."),
        .optional("project", \.project, "The only project it may touch."),
        .told("created_at", \.created_at, "When it was made."),
        .optional("expires_at", \.expires_at, "When it ends."),
        .optional("last_used_at", \.last_used_at, "When it was last used, to the minute."),
    ]
}

public struct NewToken: Manifest {
    public var name = ""
    public var permission = Permission.read
    public var token = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("name", \.name, "What the token is called."),
        .told("permission", \.permission, "What it may do."),
        .told("token", \.token, "The secret. It is not kept and cannot be shown again."),
    ]
}

/// What the server is.
public enum Server {
    public static let info = Operation<Nothing, ServerInfo>(
        "server.info", .get, "/api/v1/server", needs: .read, "Tells what the server is and where its parts listen.")
}

public struct ServerInfo: Manifest {
    public var version = ""
    public var started_at = Timestamp.zero
    public var auth = true
    public var listen = ""
    public var proxy_url: String?
    public var events: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("version", \.version, "Version of vagus."),
        .told("started_at", \.started_at, "When it started."),
        .told("auth", \.auth, "Whether it asks for tokens."),
        .told("listen", \.listen, "Where it listens."),
        .optional("proxy_url", \.proxy_url, "Where services are reached, as the proxy last told."),
        .told("events", \.events, "How many events its log holds."),
    ]
}
