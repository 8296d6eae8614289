import Foundation
import GRDB

/// The life of the writer thread: take what waits, run it in one transaction, commit, resume the callers.
struct WriterLoop: Sendable {
    let connection: DatabaseQueue
    let queue: WorkQueue<any Job>
    let state: EngineState
    let commitHook: (@Sendable (Int) throws -> Void)?

    func run() {
        let cache = StatementCache()
        var commits = 0
        while let jobs = queue.take(atMost: Database.Limits.writesPerCommit) {
            connection.writeWithoutTransaction { db in
                let session = Session(db: db, cache: cache)
                // Work that runs alone cuts the group in two, so that order is kept.
                for group in jobs.cut() {
                    run(group, on: session, commits: &commits)
                }
            }
        }
        cache.removeAll()
        try? connection.close()  // at the end of its life there is nobody left to tell
    }

    private func run(_ jobs: [any Job], on session: Session, commits: inout Int) {
        let jobs = jobs.withdrawCancelled()
        guard !jobs.isEmpty else { return }
        guard !state.isClosed else { return jobs.finish(failure: EngineState.closedError) }
        if jobs[0].runsAlone {
            for job in jobs {
                try? job.run(Connection(session: session))  // the job keeps its error for its caller
                job.finish(failure: nil)
            }
            return
        }
        do throws(SQLError) {
            if try commit(jobs, on: session) {
                commits += 1
                do { try commitHook?(commits) } catch {
                    state.isClosed = true
                    throw EngineState.closedError
                }
            }
            jobs.finish(failure: nil)
        } catch {
            jobs.finish(failure: error)
        }
    }

    /// Returns whether anything was committed: a group of which every body threw is rolled back.
    private func commit(_ jobs: [any Job], on session: Session) throws(SQLError) -> Bool {
        try session.control("BEGIN IMMEDIATE")
        do throws(SQLError) {
            var kept = 0
            for job in jobs where try runInSavepoint(job, on: session) { kept += 1 }
            try session.control(kept > 0 ? "COMMIT" : "ROLLBACK")
            return kept > 0
        } catch {
            // A full disk ends the transaction by itself; otherwise it is still open.
            if session.db.isInsideTransaction { try session.control("ROLLBACK") }
            throw error
        }
    }

    /// Returns whether the body's changes were kept; throws when the whole transaction is lost.
    private func runInSavepoint(_ job: any Job, on session: Session) throws(SQLError) -> Bool {
        try session.control("SAVEPOINT body")
        do {
            try job.run(Connection(session: session))
        } catch {
            guard session.db.isInsideTransaction else { throw SQLError(engine: error) }
            try session.control("ROLLBACK TO body")
            try session.control("RELEASE body")
            return false
        }
        guard session.db.isInsideTransaction else {
            throw SQLError(.full, "the transaction was ended by a failure that a body did not pass on")
        }
        try session.control("RELEASE body")
        return true
    }
}

/// The life of a reader thread: each body on a snapshot of its own.
struct ReaderLoop: Sendable {
    let connection: DatabaseQueue
    let queue: WorkQueue<any Job>
    let state: EngineState

    func run() {
        let cache = StatementCache()
        while let jobs = queue.take(atMost: 1)?.withdrawCancelled() {
            guard !state.isClosed else {
                jobs.finish(failure: EngineState.closedError)
                continue
            }
            connection.writeWithoutTransaction { db in
                let session = Session(db: db, cache: cache)
                for job in jobs { job.finish(failure: read(job, on: session)) }
            }
        }
        cache.removeAll()
        try? connection.close()  // at the end of its life there is nobody left to tell
    }

    private func read(_ job: any Job, on session: Session) -> (any Error)? {
        do {
            try session.control("BEGIN DEFERRED")
            try? job.run(Connection(session: session))  // the job keeps its error for its caller
            // A damaged file may have ended the transaction already.
            if session.db.isInsideTransaction { try session.control("ROLLBACK") }
            return nil
        } catch {
            return error
        }
    }
}

extension [any Job] {
    /// Resumes those whose callers gave up and returns the others.
    fileprivate func withdrawCancelled() -> [any Job] {
        var live: [any Job] = []
        live.reserveCapacity(count)
        for job in self {
            if job.isCancelled { job.finish(failure: nil) } else { live.append(job) }
        }
        return live
    }

    fileprivate func finish(failure: SQLError?) {
        for job in self { job.finish(failure: failure) }
    }

    /// Cuts into groups for one commit each; work that runs alone is a group of its own.
    fileprivate func cut() -> [[any Job]] {
        var groups: [[any Job]] = []
        for job in self {
            if let last = groups.last?.last, !last.runsAlone, !job.runsAlone {
                groups[groups.count - 1].append(job)
            } else {
                groups.append([job])
            }
        }
        return groups
    }
}
