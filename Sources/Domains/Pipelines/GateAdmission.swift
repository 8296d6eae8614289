import API
import Manifests

/// What environments, and jobs that ask for secrets, must keep before they are put.
enum GateAdmission {
    /// Cron expressions that can be read, in time zones that there are.
    static func check(_ spec: EnvironmentSpec) throws(ManifestError) {
        for (index, window) in spec.freeze.enumerated() {
            do {
                _ = try Freezes.schedule(of: window)
            } catch {
                throw error.below(["freeze", "\(index)"])
            }
        }
    }

    static func check(_ job: JobSpec, at path: [String]) throws(ManifestError) {
        for (index, name) in job.secrets.enumerated() where SecretReference(name) == nil {
            throw ManifestError(
                at: path + ["secrets", "\(index)"], message: "\"\(name)\" names no secret",
                hint: SecretReference.nameRule)
        }
        guard job.isOnServer, !job.secrets.isEmpty || job.id_token != nil else { return }
        throw ManifestError(
            at: path + [job.secrets.isEmpty ? "id_token" : "secrets"],
            message: "the server carries this job out itself and reads no secrets for it",
            hint: "Give them to a job with a run step.")
    }
}
