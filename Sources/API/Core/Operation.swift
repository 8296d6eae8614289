public import Manifests
import Synchronization

/// One thing a client can ask of the server: the single source of the HTTP route, the client call, the command line's
/// request and the OpenAPI entry.
///
/// Where an input field goes is one rule: named in the path → path; GET and DELETE → query; else → JSON body.
public struct Operation<Input: Manifest, Output: Manifest>: Sendable {
    /// "runs.start": unique; also the name of its span.
    public let name: String
    public let method: HTTPVerb
    /// Path template; `{name}` is filled from the input's field of that name.
    public let path: String
    public let permission: Permission
    public let summary: String
    /// How long the server may wait before it answers (long polls), or nil.
    public let wait: TimeSpan?

    public init(
        _ name: String, _ method: HTTPVerb, _ path: String, needs permission: Permission, wait: TimeSpan? = nil,
        _ summary: String
    ) {
        self.name = name
        self.method = method
        self.path = path
        self.permission = permission
        self.wait = wait
        self.summary = summary
    }

    /// The operation without its types, for lists.
    public var erased: AnyOperation {
        AnyOperation(
            name: name, method: method, path: path, permission: permission, summary: summary, input: { Input.schema },
            output: { Output.schema }, waits: wait != nil)
    }
}

public enum HTTPVerb: String, Sendable { case get = "GET", post = "POST", put = "PUT", delete = "DELETE" }

/// What a token may do; each word includes those before it.
public enum Permission: String, WireEnum, Comparable {
    /// Look at everything.
    case read
    /// Start and stop things: runs, promotions, aborts.
    case run
    /// Change what is declared.
    case write
    /// Tokens, audit, and everything else.
    case admin
    /// What a runner or proxy needs: leases, output, tables, counters.
    case agent

    private var rank: Int { [.read: 1, .run: 2, .write: 3, .admin: 4][self] ?? 0 }
    public static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }

    /// Whether someone who has this may do what needs `other`.
    public func allows(_ other: Permission) -> Bool {
        if self == .admin { return true }
        if self == .agent || other == .agent { return self == other || (self == .agent && other == .read) }
        return other <= self
    }
}

public struct AnyOperation: Sendable {
    public let name: String
    public let method: HTTPVerb
    public let path: String
    public let permission: Permission
    public let summary: String
    public let input: @Sendable () -> Schema
    public let output: @Sendable () -> Schema
    /// Whether the answer may be held back until there is news.
    public let waits: Bool
}

/// An operation's input that says nothing.
public struct Nothing: Manifest {
    public init() {}
    public static let fields: [Field<Self>] = []
}

/// A page of answers.
public struct ItemList<Item: Manifest>: Manifest {
    public var items: [Item] = []
    /// Give it as `after` to get the next page; absent on the last.
    public var next: String?

    public init() {}
    public init(_ items: [Item], next: String? = nil) { (self.items, self.next) = (items, next) }
    public static var fields: [Field<Self>] {
        // A generic type can store nothing of its own, and to make key paths anew for each answer costs more than it.
        ItemListFields.all.withLock { all in
            if let known = all[ObjectIdentifier(Item.self)] as? [Field<Self>] { return known }
            let made: [Field<Self>] = [
                .told("items", \.items, "What was asked for."),
                .optional("next", \.next, "Give it as \"after\" to get the next page."),
            ]
            all[ObjectIdentifier(Item.self)] = made
            return made
        }
    }
}

private enum ItemListFields {
    static let all = Mutex<[ObjectIdentifier: any Sendable]>([:])
}

/// Names one thing in one project.
public struct Name: Manifest {
    public var project = "default"
    public var name = ""
    public init() {}
    public init(project: String, name: String) { (self.project, self.name) = (project, name) }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project it is in."),
        .required("name", \.name, "Its name."),
    ]
}
