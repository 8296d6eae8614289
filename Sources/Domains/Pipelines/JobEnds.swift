import API
import Kernel
import Manifests
import SQL

/// How jobs come back from their runner.
extension Leases {
    /// Takes jobs back, each for itself: what is wrong with one is told of that one. Then gives what else is ready.
    func jobsFinished(_ input: JobReports, _ call: Call) async throws -> JobReportsOutcome {
        guard input.reports.count <= JobReports.limit else {
            throw Problem(
                "reports.too-many", status: 422, "more than \(JobReports.limit) reports in one call",
                hint: "Tell them in several.")
        }
        var outcome = JobReportsOutcome()
        outcome.answers = Array(repeating: JobReportAnswer(), count: input.reports.count)
        var places: Ordered<[Int]> = [:]
        for (place, report) in input.reports.enumerated() {
            do {
                try await check(report.artifacts + report.steps.flatMap(\.artifacts))
                places[report.run] = (places[report.run] ?? []) + [place]
            } catch let problem as Problem where problem.status < 500 {
                outcome.answers[place].problem = problem
            }
        }
        var leases: [(Lease, JobNeeds?)] = []
        // Run by run, since what is told of a run is told on its behalf.
        for (run, places) in places {
            let left = input.count - leases.count
            let (answers, given) = try await store.change(speaking(call, run)) { change in
                let answers = try places.map { try end(input.reports[$0], in: change) }
                return (answers, left > 0 ? try more(input, of: run, atMost: left, in: change) : [])
            }
            for (place, answer) in zip(places, answers) {
                let key = JobKey(input.reports[place])
                logs.release(key)
                store.bells.ring([key.logTopic])
                outcome.answers[place] = answer
            }
            leases += given
        }
        outcome.leases = try await secrets.fill(leases, runnerCall(input.name, run: ""))
        for index in outcome.leases.indices { urls.place(&outcome.leases[index]) }
        return outcome
    }

    /// More of the same run, for a runner that is known and goes on.
    private func more(
        _ input: JobReports, of run: String, atMost count: Int, in change: Change
    ) throws -> [(Lease, JobNeeds?)] {
        guard try change.sql.runner(input.name)?.incarnation == input.incarnation else { return [] }
        var asked = LeaseInput()
        (asked.name, asked.incarnation, asked.count) = (input.name, input.incarnation, count)
        return try give(asked, jobsOf: run, atMost: min(count, PipelineLimits.leasesAtOnce), in: change)
    }

    private func end(_ report: JobReport, in change: Change) throws -> JobReportAnswer {
        var answer = JobReportAnswer()
        let key = JobKey(report)
        do {
            let (held, stored, state) = try change.sql.reporting(key, epoch: report.epoch)
            answer.state = state
            guard var job = held, let stored else { return answer }
            if let tail = report.output {
                try Leases.checkSize(tail.text.utf8.count)
                // Bytes that were heard already are left alone.
                _ = try logs.append(Array(tail.text.utf8), at: tail.offset, to: key, epoch: report.epoch)
            }
            for step in report.steps { job = try change.hear(step, of: job) }
            for artifact in report.artifacts {
                try change.keep(artifact, of: key)
                try change.expire(artifact, of: job, in: stored)
            }
            if job.job.attempt > 1 || report.coverage != nil || report.workspace != nil {
                try change.sql.keepEnd(report, of: key)
            }
            if let tests = report.tests { try change.sql.keepTests(tests, of: key) }
            try change.end(job, of: stored, by: report)
        } catch let problem as Problem where problem.status < 500 {
            // Refused before anything of it was written.
            answer.problem = problem
        }
        return answer
    }
}

extension JobKey {
    fileprivate init(_ report: JobReport) { self.init(run: report.run, stage: report.stage, job: report.job) }
}

extension Change {
    /// Takes over a step's outcome, unless it was heard before.
    ///
    /// - Returns: The job with that.
    @discardableResult
    func hear(_ report: StepReport, of job: StoredJob) throws -> StoredJob {
        guard let step = job.job.steps.first(where: { $0.index == report.step.index }), !step.status.hasEnded else {
            return job
        }
        try sql.keepWords(of: report.step, report.annotations, of: job.key)
        return try finish(step, as: report.step, of: job, artifacts: report.artifacts)
    }
}
