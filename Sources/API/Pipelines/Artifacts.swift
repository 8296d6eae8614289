public import Manifests

/// How a job must have ended for its files to be kept.
public enum KeepWhen: String, WireEnum {
    case success, failure, always
    /// Whether files of a job that ended so are kept.
    public func holds(_ isSuccess: Bool) -> Bool { self == .always || (self == .success) == isSuccess }
}

public struct ArtifactSpec: Manifest {
    public enum Missing: String, WireEnum { case warn, error, ignore }
    public var name = ""
    public var paths: [String] = []
    public var exclude: [String] = []
    public var expire: TimeSpan?
    public var when = KeepWhen.always
    public var if_missing = Missing.warn
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Name; later stages write `stage.name`."),
        .required("paths", \.paths, "Files and folders of the workspace, with * and ** as wildcards."),
        .optional("exclude", \.exclude, "Files and folders that are left out, written the same way."),
        .optional("expire", \.expire, "How long it is kept once the run has ended; absent: for ever."),
        .optional("when", \.when, "How the job must have ended for it to be kept."),
        .optional("if_missing", \.if_missing, "What it means when nothing matches: a word in the log, or a failure."),
    ]

    public static func check(_ value: Self) -> [ManifestError] {
        var errors: [ManifestError] = []
        if !isArtifactName(value.name) {
            errors.append(
                ManifestError(
                    at: ["name"], message: "\"\(value.name)\" cannot be the name of an artifact",
                    hint: "Use letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit, at most 100.")
            )
        }
        return errors + outside(value.paths, "paths") + outside(value.exclude, "exclude")
    }

    static func outside(_ paths: [String], _ field: String) -> [ManifestError] {
        paths.enumerated().filter { !isInsideWorkspace($0.element) }.map {
            .outside($0.element, at: [field, "\($0.offset)"])
        }
    }

    /// Whether the text may name an artifact; one with an expression is looked at when that has its value.
    static func isArtifactName(_ text: String) -> Bool {
        if text.contains("${{") { return true }
        guard let first = text.utf8.first, text.utf8.count <= 100 else { return false }
        func isWord(_ byte: UInt8) -> Bool {
            (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte)
        }
        return isWord(first) && text.utf8.allSatisfy { isWord($0) || [0x2D, 0x5F, 0x2E].contains($0) }
    }
}

/// What becomes of a job's files when it has ended.
public struct WorkspaceSpec: Manifest {
    public enum Keep: String, WireEnum { case on_failure, always, never }
    public var keep = Keep.on_failure
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional(
            "keep", \.keep, "When its runner keeps the workspace for a day, so that `vagus shell` can look into it.")
    ]
}

/// Digests of blobs.
public struct DigestList: Manifest {
    public var digests: [String] = []
    public init() {}
    public init(_ digests: [String]) { self.digests = digests }
    public static let fields: [Field<Self>] = [.told("digests", \.digests, "Their digests.")]
}

/// What is kept by content.
public enum Storage {
    public static let sweep = Operation<SweepInput, SweepOutcome>(
        "blobs.sweep", .post, "/api/v1/blobs-sweep", needs: .admin,
        "Deletes content that nothing names any more; the server does so by itself every hour.")
}

public struct SweepInput: Manifest {
    public var dry_run = true
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("dry_run", \.dry_run, "Only tells what it would delete.")
    ]
}

public struct SweepOutcome: Manifest {
    public var dry_run = true
    public var held = 0
    public var held_bytes: Int64 = 0
    public var young = 0
    public var deleted = 0
    public var deleted_bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("dry_run", \.dry_run, "Nothing was deleted; the figures tell what would be."),
        .told("held", \.held, "Blobs that an artifact, a cache, a model version or a service names."),
        .told("held_bytes", \.held_bytes, "Their bytes."),
        .told("young", \.young, "Blobs that nothing names yet, and that came or were asked for within a day."),
        .told("deleted", \.deleted, "Blobs that were deleted."),
        .told("deleted_bytes", \.deleted_bytes, "Their bytes."),
    ]
}
