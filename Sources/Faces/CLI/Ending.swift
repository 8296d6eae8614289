import API
import ArgumentParser
import Foundation
import Manifests

/// How a command ends when it does not end well.
enum Ending {
    /// A gate, a failed run, an aborted rollout: vagus did its work and the answer is no.
    struct Refused: Error { var message: String? }

    static func leave(_ error: any Error) -> Never {
        switch error {
        case let refused as Refused:
            if let message = refused.message { Terminal.error("error: \(message)\n") }
            exit(2)
        case is CancellationError: exit(130)
        case let error as ManifestError: leave(Problem(error))
        case let problem as Problem:
            Terminal.error(text(problem))
            exit(problem.code == "server.unreachable" ? 69 : problem.code.hasPrefix("gate.") ? 2 : 1)
        case is ExitCode, is CleanExit, is ValidationError: Vagus.exit(withError: error)
        default:
            if Vagus.exitCode(for: error) == .validationFailure || Vagus.exitCode(for: error) == .success {
                Vagus.exit(withError: error)
            }
            if let told = error as? any ProblemConvertible { leave(told.problem) }
            Terminal.error("error: \(error)\n")
            exit(1)
        }
    }

    static func text(_ problem: Problem) -> String {
        let place = problem.location.map { "\($0): " } ?? ""
        var out = "error: \(place)\(problem.message)\n"
        if let detail = problem.detail { out += "  \(detail)\n" }
        if let hint = problem.hint { out += "hint: \(hint)\n" }
        return out
    }
}
