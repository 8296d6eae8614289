import API
import Foundation
package import Kernel
import Manifests
import Outbound

extension BatchExecutor {
    /// Batch jobs of a Slurm cluster, through slurmrestd.
    ///
    /// - Parameters:
    ///   - url: Of slurmrestd.
    ///   - user: Whose jobs they are.
    ///   - tokenFile: Holds that user's JSON Web Token (`scontrol token`); read anew for each call, as tokens run out.
    package static func slurm(
        url: String, user: String, tokenFile: String, folder: String, time: any TimeSource = SystemTime()
    ) -> BatchExecutor {
        BatchExecutor(SlurmSystem(url: url, user: user, tokenFile: tokenFile), folder: folder, time: time)
    }
}

/// slurmrestd's API, version v0.0.38 (Slurm 21.08 to 23.11).
struct SlurmSystem: BatchSystem {
    let kind = ExecutorKind.slurm
    let graceLimit: Duration? = nil
    private let door: BatchDoor
    private let user: String
    private let tokenFile: String

    private static let root = "/slurm/v0.0.38"

    init(url: String, user: String, tokenFile: String) {
        door = BatchDoor(kind: .slurm, url: url)
        (self.user, self.tokenFile) = (user, tokenFile)
    }

    private func call(
        _ method: String, _ path: String, _ body: JSONValue? = nil
    ) async throws(ExecutionFailure) -> (status: Int, json: JSONValue) {
        guard let data = FileManager.default.contents(atPath: tokenFile) else {
            throw ExecutionFailure(
                .unavailable, "could not read Slurm's token from \(tokenFile)",
                hint: "Write one there: scontrol token username=\(user)")
        }
        let token = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        let response = try await door.call(
            method, Self.root + path, body?.bytes,
            headers: [("X-SLURM-USER-NAME", user), ("X-SLURM-USER-TOKEN", token)])
        if response.status == 401 {
            throw ExecutionFailure(
                .unavailable, "Slurm refuses the token in \(tokenFile)",
                hint: "Write a new one there: scontrol token username=\(user)")
        }
        let json = try? JSONParser.parse(response.body)  // no JSON: told by its status
        return (response.status, json ?? .null)
    }

    private static func told(_ json: JSONValue) -> String {
        let errors = json["errors"]?.array ?? []
        return errors.compactMap { $0["error"]?.string ?? $0["description"]?.string }.joined(separator: "; ")
    }

    func submit(_ job: BatchJob) async throws(ExecutionFailure) -> String {
        var fields: Ordered<JSONValue> = [
            "name": .string(job.name), "current_working_directory": .string(job.folder),
            // Slurm wants some; the script gives the command its own.
            "environment": ["PATH": "/usr/local/bin:/usr/bin:/bin"],
            "standard_input": "/dev/null", "standard_output": "/dev/null", "standard_error": "/dev/null",
            "tasks": .integer(1), "requeue": .bool(false),
        ]
        if let cpus = job.cpus { fields["cpus_per_task"] = .integer(Int64(cpus.rounded(.up))) }
        if let memory = job.memory { fields["memory_per_node"] = .integer(max(1, memory >> 20)) }
        if let timeout = job.timeout {
            fields["time_limit"] = .integer(Int64((timeout / .seconds(60)).rounded(.up)) + 2)
        }
        let script = "#!/bin/sh\nexec /bin/sh \(BatchScript.quoted(job.script))\n"
        let (status, json) = try await call("POST", "/job/submit", ["script": .string(script), "job": .object(fields)])
        guard (200..<300).contains(status), let number = json["job_id"]?.int, number > 0 else {
            if Self.isBroken(json) {
                throw ExecutionFailure(
                    .unavailable, "slurmrestd does not get through to Slurm: \(Self.told(json))",
                    hint:
                        "Look at slurmctld; a token that is wrong or has run out ends so too: scontrol token username=\(user)"
                )
            }
            throw ExecutionFailure(
                .invalid, "Slurm did not take the job: \(Self.told(json))",
                hint: "Look at its partitions and limits: sinfo, scontrol show partition")
        }
        return String(number)
    }

    /// Slurm's numbers of errors between its own programs (slurm_errno.h: 1000 to 1999, 5000 to 5999).
    private static func isBroken(_ json: JSONValue) -> Bool {
        let codes = (json["errors"]?.array ?? []).compactMap { ($0["error_code"] ?? $0["error_number"])?.int }
        return codes.contains { (1000..<2000).contains($0) || (5000..<6000).contains($0) }
    }

    func find(_ name: String) async throws(ExecutionFailure) -> String? {
        let (_, json) = try await call("GET", "/jobs")
        let found = json["jobs"]?.array?.last { $0["name"]?.string == name }
        return found?["job_id"]?.int.map(String.init)
    }

    func state(_ number: String) async throws(ExecutionFailure) -> BatchState {
        let (status, json) = try await call("GET", "/job/\(number)")
        guard let job = json["jobs"]?.array?.first, let word = job["job_state"]?.string else {
            // 2017 is ESLURM_INVALID_JOB_ID: ended so long ago that it is forgotten.
            let isForgotten =
                json["errors"]?.array?.contains {
                    ($0["error_code"] ?? $0["error_number"])?.int == 2017
                } ?? false
            if isForgotten || status == 404 { return .unknown }
            throw ExecutionFailure(.unavailable, "Slurm did not tell of job \(number): \(Self.told(json))")
        }
        return Self.state(word, code: job["exit_code"]?.int ?? 0, reason: job["state_reason"]?.string ?? "")
    }

    /// Slurm's words (job state codes of squeue(1)); the exit code is a wait status: code × 256 + signal.
    static func state(_ word: String, code: Int, reason: String) -> BatchState {
        switch word {
        case "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT": return .waiting
        case "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING": return .running
        case "COMPLETED", "FAILED":
            let signal = code & 0x7F
            return .ended(ExecutionResult(signal == 0 ? .exited(code >> 8) : .signalled(signal)))
        case "OUT_OF_MEMORY":
            return .ended(ExecutionResult(.outOfMemory, detail: "used more than its memory, as Slurm tells"))
        case "TIMEOUT": return .ended(ExecutionResult(.lost, detail: "ran into the time limit of Slurm"))
        default:
            let why = reason.isEmpty || reason == "None" ? "" : " (\(reason))"
            return .ended(ExecutionResult(.lost, detail: "was ended by Slurm: \(word.lowercased())\(why)"))
        }
    }

    func ask(_ number: String) async throws(ExecutionFailure) {
        _ = try await call("DELETE", "/job/\(number)?signal=SIGTERM")
    }

    func kill(_ number: String) async throws(ExecutionFailure) {
        _ = try await call("DELETE", "/job/\(number)?signal=SIGKILL")
        _ = try await call("DELETE", "/job/\(number)")
    }
}
