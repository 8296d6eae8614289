import API
import Foundation

/// The identity token of a job, fresh for each step: the server signs none that is good for longer than ten minutes.
extension StepWork {
    /// Variable that names the file; not the token itself, which would be in sight of `ps`.
    static let tokenVariable = "VAGUS_ID_TOKEN_FILE"
    var tokenFile: String { "\(folder.step(order.index))/id-token" }

    /// Puts the token where the step finds it; nothing for a job that has asked for none.
    func writeToken() async throws {
        guard lease.id_token != nil else { return }
        let token = try await patient.call(Runners.idToken, lease.key)
        output.mask.cover(token.token)
        guard
            FileManager.default.createFile(
                atPath: tokenFile, contents: Data(token.token.utf8), attributes: [.posixPermissions: 0o600])
        else {
            throw Problem("oidc.file", status: 500, "the identity token could not be written")
        }
    }
}
