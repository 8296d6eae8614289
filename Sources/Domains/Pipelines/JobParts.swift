import API
import Blobs
import Expressions
import Kernel
import Manifests
import SQL

// What a job is given beside its steps: caches, artifacts, reports, what becomes of its workspace. And what its runner
// tells beside outcomes.

extension Change {
    /// Gives a lease the job's parts, their expressions resolved but those that only the runner can: files and steps.
    func addParts(of job: StoredJob, in stored: StoredRun, to lease: inout Lease) throws {
        guard let spec = job.spec(in: stored.spec) else { return }
        (lease.artifacts, lease.reports) = (spec.artifacts, spec.reports)
        (lease.cache, lease.workspace) = (spec.cache, spec.workspace)
        let parts: JSONValue = [
            "artifacts": spec.artifacts.json, "reports": spec.reports.json, "cache": spec.cache.json,
        ]
        guard parts.text.contains("${{") else { return }
        let state = RunState(stored: stored, jobs: try sql.glance(run: job.run), bornAt: now)
        let resolver = Resolver(context: Contexts.job(job, in: state))
        // What cannot be resolved goes as it is written: its runner says so in the log, where people look for it. Here it
        // would keep the job from ever being leased.
        func resolved<V: WireValue>(_ value: V) -> V {
            (try? V(json: resolver.resolve(value.json), at: [])) ?? value  // told by the runner, see above
        }
        (lease.artifacts, lease.reports) = (resolved(spec.artifacts), resolved(spec.reports))
        lease.cache = resolved(spec.cache)
    }

    /// Sets when the artifact of a job is forgotten, as its spec says.
    func expire(_ artifact: Artifact, of job: StoredJob, in stored: StoredRun) throws {
        let specs = job.spec(in: stored.spec)?.artifacts ?? []
        guard let span = specs.first(where: { $0.name == artifact.name || $0.name.contains("${{") })?.expire else {
            return
        }
        var kept = artifact
        (kept.run, kept.stage, kept.job) = (job.run, job.job.stage, job.job.name)
        try sql.expire(kept, at: now.advanced(by: span.duration))
    }
}

extension Leases {
    /// Routes of what runners tell beside the life of a lease.
    func addMore(to routes: inout Routes) {
        let me = self
        routes.on(Runners.absent) { input, _ in
            let digests = input.digests.compactMap { Digest($0) }
            guard digests.count == input.digests.count, digests.count <= PipelineLimits.absentAtOnce else {
                throw Problem(
                    "blobs.digests", status: 422, "these are not at most \(PipelineLimits.absentAtOnce) digests",
                    hint: "Ask in smaller pieces.")
            }
            return DigestList(try await me.blobs.absent(digests).map(\.text))
        }
        routes.on(Runners.testCases) { input, call in try await me.testCases(input, call) }
        routes.on(Runners.drain) { input, call in try await me.drain(input, call) }
    }

    /// From here on the runner is given nothing; what it was given before this, it has in hand.
    private func drain(_ input: LeaseInput, _ call: Call) async throws -> Nothing {
        try await context.store.change(call) { change in
            guard try change.sql.runner(input.name)?.incarnation == input.incarnation else { return }
            try change.sql.drain(input.name)
            try change.tell("runner.draining", about: Subject(kind: "Runner", project: "", name: input.name))
            change.ring("Runner")
            change.ring(Self.readyTopic)
        }
        return Nothing()
    }
}
