import API
import Client
import Foundation
import Manifests
import Synchronization

/// What waits at the gate of an environment during a local run: whoever sits at the terminal is asked.
final class LocalGates: Sendable {
    let client: VagusClient
    let project: String
    /// `--approve`: yes to everything.
    let approvesAll: Bool
    /// Jobs that have been asked about.
    private let asked = Mutex<Set<String>>([])

    init(client: VagusClient, project: String, approvesAll: Bool) {
        (self.client, self.project, self.approvesAll) = (client, project, approvesAll)
    }

    /// Looks whether something waits for a word, and asks for it; true when it has written to the terminal.
    func look(at run: Run) async throws -> Bool {
        guard run.jobs.contains(where: { $0.status == .waiting && !hasAsked($0.key) }) else { return false }
        var query = GateQuery()
        (query.project, query.mine) = (project, true)
        var hasWritten = false
        for gate in try await client.call(Approvals.list, query).items where gate.run == run.id && gate.mine {
            let isNew = asked.withLock { $0.insert("\(gate.stage)/\(gate.job)").inserted }
            guard isNew else { continue }
            let isLet = try await answer(for: gate)
            hasWritten = true
            var verdict = VerdictInput()
            (verdict.project, verdict.run, verdict.stage, verdict.job) = (project, run.id, gate.stage, gate.job)
            (verdict.digest, verdict.comment) = (gate.digest, "vagus run --local")
            _ = try await client.call(isLet ? Approvals.approve : Approvals.reject, verdict)
        }
        return hasWritten
    }

    private func hasAsked(_ job: String) -> Bool { asked.withLock { $0.contains(job) } }

    private func answer(for gate: Gate) async throws -> Bool {
        let question = "\(gate.stage)/\(gate.job) waits for approval to work in \(gate.environment)"
        if approvesAll {
            Terminal.error("\(question): approved by --approve\n")
            return true
        }
        guard isatty(STDIN_FILENO) == 1 else {
            Terminal.error("\(question): refused, as nobody can be asked (--approve lets it in)\n")
            return false
        }
        while true {
            Terminal.error("\(question). Let it in? [yes/no] ")
            guard let line = await Self.line() else { return false }
            switch line.trimmingCharacters(in: .whitespaces).lowercased() {
            case "y", "yes": return true
            case "n", "no": return false
            default: Terminal.error("Write yes or no.\n")
            }
        }
    }

    /// One line of standard input, waited for on a thread of its own; nil at its end.
    private static func line() async -> String? {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: readLine()) }
        }
    }
}
