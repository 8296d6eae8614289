import API
package import Kernel
import Manifests
import Outbound

extension BatchExecutor {
    /// Jobs of a Ray cluster, through the Jobs API of its dashboard.
    package static func ray(url: String, folder: String, time: any TimeSource = SystemTime()) -> BatchExecutor {
        BatchExecutor(RaySystem(url: url), folder: folder, time: time)
    }
}

/// Ray's Jobs API (`/api/jobs/`).
struct RaySystem: BatchSystem {
    let kind = ExecutorKind.ray
    /// Ray itself kills three seconds after a stop (RAY_JOB_STOP_WAIT_TIME_S).
    let graceLimit: Duration? = .seconds(2)
    private let door: BatchDoor

    init(url: String) { door = BatchDoor(kind: .ray, url: url) }

    func submit(_ job: BatchJob) async throws(ExecutionFailure) -> String {
        var body: Ordered<JSONValue> = [
            "entrypoint": .string("exec /bin/sh \(BatchScript.quoted(job.script))"), "submission_id": .string(job.name),
        ]
        if let cpus = job.cpus { body["entrypoint_num_cpus"] = .number(cpus) }
        if let memory = job.memory { body["entrypoint_memory"] = .integer(memory) }
        let response = try await door.call("POST", "/api/jobs/", JSONValue.object(body).bytes)
        // Its id is its name: handed in before means known now.
        guard response.isSuccess || response.text.contains("already exists") else {
            throw ExecutionFailure(.invalid, "Ray did not take the job: \(response.text.prefix(300))")
        }
        return job.name
    }

    func find(_ name: String) async throws(ExecutionFailure) -> String? {
        try await state(name) == .unknown ? nil : name
    }

    func state(_ number: String) async throws(ExecutionFailure) -> BatchState {
        let response = try await door.call("GET", "/api/jobs/\(number)")
        if response.status == 404 { return .unknown }
        guard response.isSuccess, let json = try? JSONParser.parse(response.body),  // told just below
            let word = json["status"]?.string
        else { throw ExecutionFailure(.unavailable, "Ray did not tell of a job: \(response.text.prefix(300))") }
        return Self.state(word, code: json["driver_exit_code"]?.int, message: json["message"]?.string ?? "")
    }

    /// Ray's words: `JobStatus` of its Jobs API.
    static func state(_ word: String, code: Int?, message: String) -> BatchState {
        switch word {
        case "PENDING": .waiting
        case "RUNNING": .running
        case "SUCCEEDED": .ended(ExecutionResult(.exited(0)))
        case "FAILED" where (code ?? 0) > 0: .ended(ExecutionResult(.exited(code ?? 1)))
        case "FAILED" where (code ?? 0) < 0: .ended(ExecutionResult(.signalled(-(code ?? 0))))
        case "STOPPED": .ended(ExecutionResult(.lost, detail: "was stopped in Ray"))
        default: .ended(ExecutionResult(.lost, detail: "was lost by Ray: \(message.prefix(300))"))
        }
    }

    func ask(_ number: String) async throws(ExecutionFailure) {
        _ = try await door.call("POST", "/api/jobs/\(number)/stop")
    }

    func kill(_ number: String) async throws(ExecutionFailure) { try await ask(number) }
}
