import API
import Blobs
import Kernel
import Logging
import Manifests
import SQL

/// Caches of jobs: what a lease may read and make.
struct CacheBook: Sendable {
    let context: DomainContext
    let blobs: BlobStore
    private var store: Store { context.store }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Caches.find) { input, call in try await me.find(input, call) }
        routes.on(Caches.save) { input, call in try await me.save(input, call) }
        routes.on(Caches.list) { input, _ in ItemList(try await me.store.read { try $0.caches(input) }) }
        routes.on(Caches.delete) { input, call in try await me.delete(input, call) }
    }

    private func find(_ input: CacheQuery, _ call: Call) async throws -> CacheFound {
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        let found = try await store.read { sql in
            let (project, scope) = try Self.scope(of: key, epoch: input.epoch, in: sql)
            return try sql.cache(input, project: project, in: scope)
        }
        guard let entry = found.entry else { return found }
        try await store.change(call) { try $0.sql.useCache(entry.id, at: $0.now) }
        return found
    }

    /// An entry never changes: whoever comes second with a key keeps what is there.
    private func save(_ input: CacheInput, _ call: Call) async throws -> CacheFound {
        guard !input.key.isEmpty, input.key.utf8.count <= CacheSpec.keyBytes else {
            throw Problem("cache.key", status: 422, "a cache's key has 1 to \(CacheSpec.keyBytes) bytes")
        }
        guard let digest = Digest(input.digest), try await Tree.claim(digest, in: blobs) else {
            throw Problem(
                "cache.absent", status: 422, "the content of cache \"\(input.key)\" is not here, or not all of it",
                hint: "Send it to /api/v1/blobs first.")
        }
        // The size is what is here, not what the runner says.
        let size = try await Tree.open(digest, from: blobs).size
        guard size <= PipelineLimits.cacheEntryBytes else {
            throw Problem(
                "cache.size", status: 413,
                "a cache has at most \(PipelineLimits.cacheEntryBytes >> 30) GiB, and \"\(input.key)\" is larger",
                hint: "Keep fewer paths.")
        }
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        let id = context.ids.next("cache")
        return try await store.change(call) { change in
            let (project, scope) = try Self.scope(of: key, epoch: input.epoch, in: change.sql)
            var entry = CacheEntry()
            (entry.id, entry.project, entry.repository) = (id, project, scope.repository)
            (entry.scope, entry.key, entry.digest, entry.size_bytes) = (scope.writes, input.key, digest.text, size)
            (entry.created_at, entry.used_at) = (change.now, change.now)
            var answer = CacheFound()
            answer.entry = entry
            answer.is_exact = try !change.sql.insert(entry)
            return answer
        }
    }

    private func delete(_ input: CacheName, _ call: Call) async throws -> CacheDeleted {
        try await store.change(call) { change in
            var doomed: [CacheEntry] = []
            if let id = input.id {
                guard let entry = try change.sql.cache(id: id, project: input.project) else {
                    throw Problem.notFound("Cache", id, project: input.project, list: "caches")
                }
                doomed = [entry]
            } else {
                var query = CacheListQuery()
                (query.project, query.prefix) = (input.project, input.prefix)
                doomed = try change.sql.caches(query)
            }
            var deleted = CacheDeleted()
            for entry in doomed {
                try change.sql.deleteCache(entry.id)
                deleted.count += 1
                deleted.size_bytes += entry.size_bytes
            }
            if !doomed.isEmpty {
                try change.tell(
                    "cache.deleted", about: Subject(kind: "Cache", project: input.project, name: input.id ?? "*"),
                    ["count": .integer(Int64(deleted.count)), "prefix": input.prefix.map(JSONValue.string) ?? .null])
            }
            return deleted
        }
    }

    /// The project and the scope of a job that this lease holds.
    private static func scope(of key: JobKey, epoch: Int, in sql: Connection) throws -> (String, CacheScope) {
        guard try sql.held(key, epoch: epoch).0 != nil, let run = try sql.run(id: key.run)?.run else {
            throw Problem(
                "lease.lost", status: 409, "job \"\(key.stage)/\(key.job)\" is not held by this lease any more",
                hint: "Stop it; another runner may have it.")
        }
        var branch = RepositorySpec().default_branch
        if let name = run.repository {
            let reference = Reference<RepositoryKind>(project: run.project, name: name)
            branch = try sql.resource(RepositoryKind.self, reference)?.spec.default_branch ?? branch
        }
        return (run.project, CacheScope(run, defaultBranch: branch))
    }
}

/// Forgets artifacts whose time is over, caches that nobody uses, and the oldest caches of projects that have too much.
///
/// Only rows are deleted here; their content goes with the next sweep of blobs.
struct KeepingReconciler: Reconciler {
    static let name = "pipelines-keeping"
    static let topics: Set<String> = ["Keeping"]
    let context: DomainContext

    func keys() async throws -> [String] { ["all"] }

    func reconcile(_ key: String) async throws -> Next {
        let now = context.time.now
        let (artifacts, caches) = try await context.store.read { sql in
            (
                try sql.expiredArtifacts(at: now, limit: PipelineLimits.keepingBatch),
                try sql.cachesToEvict(
                    before: now.advanced(by: .zero - PipelineLimits.cacheIdle),
                    projectBytes: PipelineLimits.cacheProjectBytes, limit: PipelineLimits.keepingBatch)
            )
        }
        guard !artifacts.isEmpty || !caches.isEmpty else { return .again(in: PipelineLimits.keepingInterval) }
        try await context.store.change(.system("pipelines")) { change in
            for artifact in artifacts {
                try change.sql.delete(artifact)
                try change.tell(
                    "artifact.expired", about: Subject(kind: "Run", project: "", name: artifact.run),
                    [
                        "stage": .string(artifact.stage), "job": .string(artifact.job), "name": .string(artifact.name),
                        "digest": .string(artifact.digest),
                    ])
            }
            for cache in caches {
                try change.sql.deleteCache(cache.id)
                try change.tell(
                    "cache.evicted", about: Subject(kind: "Cache", project: cache.project, name: cache.id),
                    [
                        "key": .string(cache.key), "scope": .string(cache.scope),
                        "size_bytes": .integer(cache.size_bytes),
                    ])
            }
        }
        return .now
    }
}
