import API
import Blobs
import Expressions
import Foundation
import Kernel
import Manifests

/// The caches of a job: begun with right after checkout, kept when the steps have ended.
///
/// Whatever goes wrong with one is a word in the log: a cache makes a job faster, never other than it is.
struct JobCaches: Sendable {
    let lease: Lease
    let shared: JobContext
    let folder: JobFolder
    let output: JobOutput
    let patient: Patient

    /// Brings back what earlier runs have kept; gives the keys as they are now, since the steps will change files.
    func restore(_ context: Context) async throws -> [String] {
        var keys: [String] = []
        for (index, spec) in lease.cache.enumerated() {
            var key = ""
            do {
                key = try Self.render(spec.key, context)
                try await restore(key, try spec.restore.map { try Self.render($0, context) }, index)
            } catch let error as CancellationError {
                throw error
            } catch {
                try await output.say("! cache \(key.isEmpty ? spec.key : key): \(StepsWork.words(error))")
            }
            keys.append(key)
        }
        return keys
    }

    private static func render(_ text: String, _ context: Context) throws -> String {
        text.contains("${{") ? try Template(parsing: text, limit: Template.quotedBytes).render(in: context) : text
    }

    private func restore(_ key: String, _ prefixes: [String], _ index: Int) async throws {
        let found = try await patient.call(Caches.find, query(key, prefixes))
        guard let entry = found.entry else { return try await output.say("cache \(key): nothing kept yet") }
        let began = shared.time.now
        let staging = "\(folder.folder)/cache-\(index)"
        JobFolder.remove(staging)
        defer { JobFolder.remove(staging) }
        let size = try await shared.cache.fetch(tree: ArtifactCache.digest(entry.digest), to: staging)
        try Disk.merge(staging, into: folder.workspace)
        let from = found.is_exact ? "" : " from \(entry.key)"
        try await output.say("cache \(key): restored\(from), \(Disk.words(size)) in \(took(began))")
    }

    private func query(_ key: String, _ prefixes: [String]) -> CacheQuery {
        var query = CacheQuery()
        (query.run, query.stage, query.job, query.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (query.key, query.restore) = (key, prefixes)
        return query
    }

    private func took(_ began: Timestamp) -> TimeSpan {
        TimeSpan(seconds: (shared.time.now.since(began) / .milliseconds(1)).rounded() / 1000)
    }

    /// Keeps what the specs name, unless an entry with the key is there: entries never change.
    func save(_ keys: [String], isSuccess: Bool) async throws {
        for (spec, key) in zip(lease.cache, keys) where spec.when.holds(isSuccess) && !key.isEmpty {
            do {
                try await save(key, spec)
            } catch let error as CancellationError {
                throw error
            } catch let problem as Problem where problem.status == 409 {
                throw problem
            } catch {
                try await output.say("! cache \(key): \(StepsWork.words(error))")
            }
        }
    }

    private func save(_ key: String, _ spec: CacheSpec) async throws {
        if try await patient.call(Caches.find, query(key, [])).is_exact {
            return try await output.say("cache \(key): is kept already")
        }
        let files = try GlobWalk.files(matching: spec.paths, in: folder.workspace, withLinks: true)
        guard !files.isEmpty else {
            return try await output.say("! cache \(key): nothing matches \(spec.paths.joined(separator: ", "))")
        }
        let began = shared.time.now
        let (digest, size) = try await shared.cache.keep(paths: files, of: folder.workspace)
        var input = CacheInput()
        (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (input.key, input.digest) = (key, digest.text)
        let saved = try await patient.call(Caches.save, input)
        let words = saved.is_exact ? "was kept by another job meanwhile" : "kept"
        try await output.say(
            "cache \(key): \(words), \(files.count) file\(files.count == 1 ? "" : "s"), \(Disk.words(size)) in \(took(began))"
        )
    }
}
