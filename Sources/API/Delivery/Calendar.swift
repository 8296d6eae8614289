public import Manifests

/// Operations on environments beyond those on all declared things.
public enum Environments {
    public static let freezes = Operation<CalendarQuery, ItemList<FreezeWindow>>(
        "environments.freezes", .get, "/api/v1/projects/{project}/freezes", needs: .read,
        "Tells the times at which no job may begin in an environment, those that come again written out.")
}

public struct CalendarQuery: Manifest {
    /// Windows of one answer.
    public static let limit = 1000
    public var project = "default"
    public var environment: String?
    public var from: Timestamp?
    public var to: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("environment", \.environment, "Only this environment."),
        .optional("from", \.from, "Windows that end after this; absent: now."),
        .optional("to", \.to, "Windows that begin before this, at most 400 days later; absent: 28 days later."),
    ]
}

/// One time at which an environment is frozen.
public struct FreezeWindow: Manifest {
    public var environment = ""
    public var name = ""
    public var from = Timestamp.zero
    public var to = Timestamp.zero
    public var allow: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("environment", \.environment, "The environment."), .told("name", \.name, "What it is called."),
        .told("from", \.from, "When it begins."), .told("to", \.to, "When it ends."),
        .optional("allow", \.allow, "What may begin all the same."),
    ]
}
