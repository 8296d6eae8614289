public import Manifests

/// Folders of a workspace that a later run begins with.
public struct CacheSpec: Manifest {
    public var key = ""
    public var restore: [String] = []
    public var paths: [String] = []
    public var when = KeepWhen.success
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("key", \.key, "What its content depends on; `hashFiles('…')` is read after checkout."),
        .optional("restore", \.restore, "Beginnings of keys: the newest entry with one of them will do."),
        .required("paths", \.paths, "Folders and files of the workspace, with * and ** as wildcards."),
        .optional("when", \.when, "How the job must have ended for it to be saved."),
    ]
    /// Bytes of a key.
    public static let keyBytes = 512

    public static func check(_ value: Self) -> [ManifestError] {
        var errors = ArtifactSpec.outside(value.paths, "paths")
        if value.key.isEmpty || value.key.utf8.count > keyBytes {
            errors.append(
                ManifestError(at: ["key"], message: "a cache's key has 1 to \(keyBytes) bytes", hint: "Shorten it."))
        }
        if value.paths.isEmpty {
            errors.append(ManifestError(at: ["paths"], message: "a cache keeps at least one path", hint: "Name one."))
        }
        return errors
    }
}

/// One kept cache: never changed, only made and forgotten.
public struct CacheEntry: Manifest {
    public var id = ""
    public var project = ""
    public var repository = ""
    public var scope = ""
    public var key = ""
    public var digest = ""
    public var size_bytes: Int64 = 0
    public var created_at = Timestamp.zero
    public var used_at = Timestamp.zero
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("id", \.id, "Its id."),
        .told("project", \.project, "Its project."),
        .told("repository", \.repository, "Repository of the run that made it; \"\" for none."),
        .told("scope", \.scope, "Who made it and who may read it: `ref:` a branch or tag, or `pr:` a pull request."),
        .told("key", \.key, "Its key."),
        .told("digest", \.digest, "Content: a tree."),
        .told("size_bytes", \.size_bytes, "Bytes of its files."),
        .told("created_at", \.created_at, "When it was made."),
        .told("used_at", \.used_at, "When a job last began with it."),
    ]
}

/// Operations on caches. Which scope a job reads and writes is the server's to say, by what set its run off.
public enum Caches {
    public static let find = Operation<CacheQuery, CacheFound>(
        "caches.find", .post, "/api/v1/leases/{run}/cache-find", needs: .agent,
        "Finds a cache for a job: the key itself, else the newest entry with one of the prefixes.")
    public static let save = Operation<CacheInput, CacheFound>(
        "caches.save", .post, "/api/v1/leases/{run}/cache-save", needs: .agent,
        "Keeps a cache of a job; an entry that is there already stays as it is.")
    public static let list = Operation<CacheListQuery, ItemList<CacheEntry>>(
        "caches.list", .get, "/api/v1/projects/{project}/caches", needs: .read, "Lists caches, last used first.")
    public static let delete = Operation<CacheName, CacheDeleted>(
        "caches.delete", .delete, "/api/v1/projects/{project}/caches", needs: .write,
        "Forgets caches: one by its id, or all whose key begins with a prefix.")
}

public struct CacheQuery: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var key = ""
    public var restore: [String] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
        .required("key", \.key, "Key."), .optional("restore", \.restore, "Beginnings of keys that will do."),
    ]
}

public struct CacheInput: Manifest {
    public var run = ""
    public var stage = ""
    public var job = ""
    public var epoch = 0
    public var key = ""
    public var digest = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("run", \.run, "Run."), .required("stage", \.stage, "Stage."), .required("job", \.job, "Job."),
        .required("epoch", \.epoch, "Epoch of the lease."),
        .required("key", \.key, "Key."), .required("digest", \.digest, "Its content, a tree that was sent before."),
    ]
}

public struct CacheFound: Manifest {
    public var entry: CacheEntry?
    /// The very key, not only a prefix of it; after a save: it was there already.
    public var is_exact = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("entry", \.entry, "The entry; absent: there is none."),
        .told("is_exact", \.is_exact, "It has the very key; after a save: an entry with that key was there already."),
    ]
}

public struct CacheListQuery: Manifest {
    public var project = "default"
    public var prefix: String?
    public var scope: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Project to look in."),
        .optional("prefix", \.prefix, "Only keys that begin so."),
        .optional("scope", \.scope, "Only this scope."),
    ]
}

public struct CacheName: Manifest {
    public var project = "default"
    public var id: String?
    public var prefix: String?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("project", \.project, "Its project."),
        .optional("id", \.id, "The entry's id."),
        .optional("prefix", \.prefix, "All whose key begins so."),
    ]
    public static let choices = ["id", "prefix"]
}

public struct CacheDeleted: Manifest {
    public var count = 0
    public var size_bytes: Int64 = 0
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("count", \.count, "Entries that were forgotten."),
        .told(
            "size_bytes", \.size_bytes, "Bytes of their files; those that nothing else names go with the next sweep."),
    ]
}
