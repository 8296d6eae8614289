public import Manifests

/// A place where services run, with the variables they share.
public enum EnvironmentKind: Kind {
    public typealias Spec = EnvironmentSpec
    public typealias Status = NoStatus
    public static let name = "Environment"
    public static let plural = "environments"
    public static let summary = "A place where services run, with the variables they share."
}

public struct EnvironmentSpec: Manifest {
    public enum Tier: String, WireEnum { case development, staging, production }
    public var tier = Tier.development
    public var url: String?
    public var variables: Ordered<String> = [:]
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("tier", \.tier, "How much depends on it; DORA counts production."),
        .optional("url", \.url, "Where people find it."),
        .optional("variables", \.variables, "Environment variables of all its services."),
    ]
}
