import API
import Kernel
import Manifests
import SQL

/// Whether a job may begin, as far as the environment it works in is concerned.
enum GateAnswer: Sendable, Equatable {
    case open
    /// Not yet; `until`: when time alone may change the answer.
    case wait(reason: String, until: Timestamp?)
    /// Never.
    case refuse(reason: String)
}

/// What gates decide by, read in one go with the run.
struct GateFacts: Sendable {}

extension Connection {
    func gateFacts(for stored: StoredRun, jobs: [StoredJob]) throws -> GateFacts { GateFacts() }
}

/// Asked after a job's needs are met and its `if` holds, before any lane.
func gateAnswer(for job: StoredJob, in state: RunState, at now: Timestamp) -> GateAnswer { .open }
