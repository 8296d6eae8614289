import API
import Client
import Foundation
import Manifests

/// A run as it goes: on a terminal the tree of its stages redrawn in place, elsewhere a line for each change.
struct RunView {
    let client: VagusClient
    let connection: Connection

    /// Stays until the run has ended.
    ///
    /// `between` is done after each look, and answers true when it has written to the terminal.
    ///
    /// - Throws: `Ending.Refused` when it did not succeed.
    func follow(_ first: Run, between: ((Run) async throws -> Bool)? = nil) async throws {
        var run = first
        var shown: [String: RunStatus] = [:]
        var drawn = 0
        let frames = Array("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
        var turn = 0
        while true {
            if connection.output == .table {
                if Terminal.isInteractive {
                    let text = Self.text(run, spinner: run.status.hasEnded ? nil : frames[turn % frames.count])
                    Terminal.out((drawn > 0 ? "\u{1B}[\(drawn)A\u{1B}[J" : "") + text)
                    drawn = text.count { $0 == "\n" }
                } else {
                    Terminal.out(Self.changes(run, &shown))
                }
            }
            if run.status.hasEnded { break }
            if let between, try await between(run) { drawn = 0 }
            try await Task.sleep(for: .milliseconds(Terminal.isInteractive ? 200 : 300))
            turn += 1
            run = try await client.call(Runs.get, RunName(project: run.project, run: run.id))
        }
        if connection.output != .table { connection.show(run) { "" } }
        if run.status != .succeeded {
            throw Ending.Refused(
                message: "run \(run.pipeline):\(run.number) \(run.status.rawValue)"
                    + (run.reason.map { ": \($0)" } ?? ""))
        }
    }

    private static func changes(_ run: Run, _ shown: inout [String: RunStatus]) -> String {
        var out = ""
        func note(_ key: String, _ status: RunStatus, _ text: String) {
            guard shown[key] != status else { return }
            shown[key] = status
            out += text + "\n"
        }
        note("", run.status, "run \(run.pipeline):\(run.number) \(run.status.rawValue) (\(run.id))")
        for job in run.jobs where job.status != .queued {
            let took =
                job.status.hasEnded && job.started_at != nil
                ? " in \(Words.between(job.started_at, job.finished_at))" : ""
            note(
                job.key, job.status, "  \(job.key) \(job.status.rawValue)\(took)" + (job.reason.map { ": \($0)" } ?? "")
            )
        }
        return out
    }

    static func text(_ run: Run, spinner: Character? = nil) -> String {
        let mark = spinner.map { "\($0) " } ?? ""
        var out = "\(mark)\(Terminal.styled("\(run.pipeline):\(run.number)", .bold)) \(Words.status(run.status))"
        out +=
            "  \(Words.between(run.started_at, run.finished_at))  \(run.trigger.type.rawValue) by \(run.trigger.actor)"
        out += (run.commit.map { "  \($0.prefix(9))" } ?? "") + "\n"
        if let reason = run.reason { out += "  \(reason)\n" }
        for job in run.jobs {
            let name = job.stage == job.name ? job.stage : job.key
            let padded = name + String(repeating: " ", count: max(1, 24 - name.count))
            let took = job.started_at == nil ? "" : Words.between(job.started_at, job.finished_at)
            out += "  \(padded)\(Words.status(job.status))  \(took)"
            if let reason = job.reason { out += "  \(Terminal.styled(reason, .dim))" }
            out += "\n"
            out += words(job)
        }
        return out + GateWords.evidence(run)
    }

    /// What a job has to say of itself: tests, coverage, annotations, where its workspace was kept.
    private static func words(_ job: Job) -> String {
        var lines: [String] = []
        if let tests = job.tests {
            lines.append("tests: \(tests.tests), failed \(tests.failures + tests.errors), skipped \(tests.skipped)")
        }
        if let coverage = job.coverage {
            let tenths = Int((coverage.percent * 10).rounded())
            lines.append("coverage: \(tenths / 10).\(tenths % 10) % of \(coverage.lines) lines")
        }
        lines += job.annotations.prefix(10).map { "\($0.level.rawValue): \($0.text)" }
        if job.annotations.count > 10 { lines.append("and \(job.annotations.count - 10) more annotations: -o json") }
        if let workspace = job.workspace { lines.append("workspace kept on \(job.runner ?? "?"): \(workspace)") }
        return lines.map { "      \($0)\n" }.joined()
    }
}
