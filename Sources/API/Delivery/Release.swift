public import Manifests

/// Services whose new revisions are let to all traffic together, or not at all.
public enum ReleaseKind: Kind {
    public typealias Spec = ReleaseSpec
    public typealias Status = ReleaseStatus
    public static let name = "Release"
    public static let plural = "releases"
    public static let summary =
        "Services that are released together: no new revision of them gets all traffic before all are ready, and when one fails all are taken back."
}

public struct ReleaseSpec: Manifest {
    public var services: [String] = []
    public var whole = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .required(
            "services", \.services,
            "Services of the project that it holds together; each belongs to one release at most."),
        .optional(
            "whole", \.whole,
            "Whether every service must have a new revision before any goes on, so that deploys may come one after another."
        ),
    ]
    /// Services of one release.
    public static let serviceLimit = 100

    public static func check(_ value: Self) -> [ManifestError] {
        var seen = Set<String>()
        var errors: [ManifestError] = value.services.enumerated().compactMap { index, name in
            seen.insert(name).inserted
                ? nil
                : ManifestError(
                    at: ["services", "\(index)"], message: "service \"\(name)\" stands there twice",
                    hint: "Leave one of them out.")
        }
        if value.services.isEmpty || value.services.count > serviceLimit {
            errors.append(
                ManifestError(
                    at: ["services"], message: "a release holds 1 to \(serviceLimit) services together",
                    hint: "Name them: services: [shop-api, shop-web]."))
        }
        return errors
    }
}

/// How the newest release of a group is doing.
public struct ReleaseStatus: Manifest {
    public enum Phase: String, WireEnum {
        /// Nothing was ever rolled out.
        case idle
        /// Members are on their way; none may take all traffic yet.
        case rolling_out
        /// All were ready, and take all traffic now.
        case promoting
        case released
        /// One has failed, or somebody wanted it: all were taken back.
        case taken_back
    }
    public var project = "default"
    public var name = ""
    public var number: Int?
    public var phase = Phase.idle
    public var message = ""
    public var services: [ReleaseMember] = []
    public var started_at: Timestamp?
    public var finished_at: Timestamp?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("project", \.project, "Its project."), .told("name", \.name, "Its name."),
        .told("number", \.number, "Counts the releases of this name, from 1."),
        .told("phase", \.phase, "How it is."), .told("message", \.message, "Why, in one sentence."),
        .told("services", \.services, "The services that have a new revision in it."),
        .optional("started_at", \.started_at, "When its first rollout began."),
        .optional("finished_at", \.finished_at, "When it was over."),
    ]
}

/// One service of a release.
public struct ReleaseMember: Manifest {
    public enum State: String, WireEnum {
        /// Declared anew, with no revision of it yet.
        case pending
        case going
        /// It has done all its steps, and waits for the others.
        case ready
        case promoted, failed
        /// Something newer has taken its place.
        case superseded
    }
    public var service = ""
    public var state = State.going
    public var revision: Int?
    public var rollout: Int?
    public var reason: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("service", \.service, "Its name."), .told("state", \.state, "How far it is."),
        .told("revision", \.revision, "Its new revision."), .told("rollout", \.rollout, "The attempt that brings it."),
        .optional("reason", \.reason, "Why it has failed."),
    ]
}

/// Every operation on releases.
public enum Releases {
    public static let list = Operation<ProjectQuery, ItemList<ReleaseStatus>>(
        "releases.list", .get, "/api/v1/projects/{project}/releases", needs: .read, "Tells how all releases are doing.")
    public static let status = Operation<Name, ReleaseStatus>(
        "releases.status", .get, "/api/v1/projects/{project}/releases/{name}/status", needs: .read,
        "Tells how a release is doing.")
    public static let promote = Operation<PromoteInput, ReleaseStatus>(
        "releases.promote", .post, "/api/v1/projects/{project}/releases/{name}/promote", needs: .run,
        "Ends the pauses that its services are in; with full, skips all steps that are left. They still wait for each other."
    )
    public static let abort = Operation<AbortInput, ReleaseStatus>(
        "releases.abort", .post, "/api/v1/projects/{project}/releases/{name}/abort", needs: .run,
        "Takes all its services back: new revisions off the traffic, and those that had all of it to the ones before.")
    public static let undo = Operation<AbortInput, ReleaseStatus>(
        "releases.undo", .post, "/api/v1/projects/{project}/releases/{name}/undo", needs: .run,
        "Takes all services of a release that is out back to the revisions before it.")
}
