public import Manifests

/// People who may act together: what an environment's `team:NAME` means.
public enum TeamKind: Kind {
    public typealias Spec = TeamSpec
    public typealias Status = NoStatus
    public static let name = "Team"
    public static let plural = "teams"
    public static let summary = "People who approve together: an environment asks them by `team:NAME`."
}

public struct TeamSpec: Manifest {
    public var members: [TeamMember] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required(
            "members", \.members, "Its people: names of users, `ana`, or `{ user: ana, emails: [ana@example.com] }`.")
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        value.members.enumerated().compactMap { index, member in
            isResourceName(member.user)
                ? nil
                : ManifestError(
                    at: ["members", "\(index)"], message: "\"\(member.user)\" cannot be a user's name",
                    hint: "Use small letters, digits, \"-\" and \"_\", as the name of the user's token has.")
        }
    }
}

/// One person. The e-mail addresses are those of their commits, so that vagus knows an author when it meets one.
public struct TeamMember: Manifest {
    public var user = ""
    public var emails: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("user", \.user, "Name of the user, which is that of their token."),
        .optional("emails", \.emails, "E-mail addresses of their commits."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let user = json.string else { return nil }
        var member = Self()
        member.user = user
        return member
    }
}
