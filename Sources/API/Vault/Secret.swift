public import Manifests

/// Every operation on secrets. Values go in and never come out: only a job that may have one is lent it.
public enum Secrets {
    public static let set = Operation<SecretInput, SecretInfo>(
        "secrets.set", .post, "/api/v1/projects/{project}/secrets", needs: .write,
        "Keeps a secret's value, sealed, as its newest version.")
    public static let list = Operation<SecretQuery, ItemList<SecretInfo>>(
        "secrets.list", .get, "/api/v1/projects/{project}/secrets", needs: .read,
        "Lists secrets, without their values.")
    public static let versions = Operation<SecretName, ItemList<SecretVersion>>(
        "secrets.versions", .get, "/api/v1/projects/{project}/secrets/versions", needs: .read,
        "Lists a secret's versions, newest first, without their values.")
    public static let delete = Operation<SecretName, SecretInfo>(
        "secrets.delete", .delete, "/api/v1/projects/{project}/secrets", needs: .write,
        "Removes a secret with all its versions, for good.")
}

public struct SecretInput: Manifest {
    public var project = "default"
    public var name = ""
    /// Free JSON rather than text, so that no message about its form can repeat it.
    public var value: JSONValue = .null
    public var environments: [String]?
    public var pipelines: [String]?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "Its name: DB_URL, or a path with a field: kv/shop/prod#db_url."),
        .required("value", \.value, "Its value: text of at most 64 KiB."),
        .optional(
            "environments", \.environments,
            "Only jobs of these environments may have it; an empty list lifts the limit; absent: as it was."),
        .optional(
            "pipelines", \.pipelines,
            "Only jobs of these pipelines may have it; an empty list lifts the limit; absent: as it was."),
    ]
}

public struct SecretName: Manifest {
    public var project = "default"
    public var name = ""
    public init() {}
    public init(project: String, name: String) { (self.project, self.name) = (project, name) }
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .required("name", \.name, "Its name."),
    ]
}

public struct SecretQuery: Manifest {
    public var project = "default"
    public var limit = 1000
    public var after: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("limit", \.limit, "At most this many.", in: 1...10000),
        .optional("after", \.after, "Where the page before ended."),
    ]
}

/// What may be known of a secret.
public struct SecretInfo: Manifest {
    public var project = "default"
    public var name = ""
    public var version = 0
    public var environments: [String] = []
    public var pipelines: [String] = []
    public var changed_at = Timestamp.zero
    public var changed_by = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."),
        .told("name", \.name, "Its name."),
        .told("version", \.version, "Its newest version."),
        .told("environments", \.environments, "Environments whose jobs may have it; none: no such limit."),
        .told("pipelines", \.pipelines, "Pipelines whose jobs may have it; none: no such limit."),
        .told("changed_at", \.changed_at, "When its newest version was set."),
        .told("changed_by", \.changed_by, "Who set it."),
    ]
}

public struct SecretVersion: Manifest {
    public var version = 0
    public var created_at = Timestamp.zero
    public var created_by = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("version", \.version, "Its number, from 1."),
        .told("created_at", \.created_at, "When it was set."),
        .told("created_by", \.created_by, "Who set it."),
    ]
}

/// How manifests name a secret: `DB_URL`, or `vault:PATH#FIELD` for the secret called `PATH#FIELD`.
public struct SecretReference: Sendable, Hashable {
    public static let scheme = "vault:"
    /// Bytes of a secret's name.
    public static let nameLimit = 200
    public var name: String

    /// Nil when the text names no secret.
    public init?(_ text: String) {
        name = text.hasPrefix(Self.scheme) ? String(text.dropFirst(Self.scheme.count)) : text
        guard Self.isName(name) else { return nil }
    }

    /// Letters, digits and `_ - . / #`, beginning with a letter, a digit or `_`.
    public static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= nameLimit else { return false }
        func isWord(_ byte: UInt8) -> Bool {
            (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == 0x5F
        }
        return isWord(first) && text.utf8.allSatisfy { isWord($0) || [0x2D, 0x2E, 0x2F, 0x23].contains($0) }
    }

    public static let nameRule = "Use letters, digits and _ - . / #, beginning with a letter, a digit or _."
}
