import API
import Foundation
import Kernel
import Manifests

/// How a step ended.
struct StepOutcome: Sendable {
    var status = RunStatus.succeeded
    var reason: String?
    var exitCode: Int?
    var outputs: Ordered<JSONValue> = [:]
    var metrics: Ordered<Double> = [:]
    var report: JSONValue?
    var artifacts: [Artifact] = []
}

/// One step: its verb, in processes of its own.
struct StepWork: Sendable {
    let order: StepOrder
    let lease: Lease
    let shared: JobContext
    let folder: JobFolder
    let output: JobOutput
    let patient: Patient
    let deadline: Timestamp
    var outcome = StepOutcome()
    /// Commands executed so far.
    var executions = 0

    /// How the reason of a step begins that has used up its time.
    static let timeoutWords = "took longer than"

    init(
        order: StepOrder, lease: Lease, shared: JobContext, folder: JobFolder, output: JobOutput, patient: Patient,
        deadline: Timestamp
    ) {
        (self.order, self.lease, self.shared, self.folder) = (order, lease, shared, folder)
        (self.output, self.patient, self.deadline) = (output, patient, deadline)
    }

    mutating func run() async throws {
        let place = try folder.makeStep(order.index, keeping: shared.survives(lease.execution))
        let secrets = (lease.json["secrets"]?.object ?? [:]).compactMap { $0.value.string }
        try StepMemory.keep(environment, hiding: secrets, in: place)
        switch order.verb {
        case "run": try await shell(in: place)
        case "checkout": try await checkout()
        case let verb where StepVerbs.workers.contains(verb): try await worker(in: place)
        default:
            throw Problem(
                "verb.unknown", status: 422, "this runner does not know the verb \"\(order.verb)\"",
                hint: "Bring the runner to the version of the server.")
        }
    }

    // MARK: Processes

    /// What every process of the step sees, and nothing else.
    var environment: [String: String] {
        var all = shared.settings.environment
        for (name, value) in order.environment { all[name] = value }
        all["VAGUS_RUN_ID"] = lease.run
        all["VAGUS_PROJECT"] = lease.project
        all["VAGUS_STAGE"] = lease.stage
        all["VAGUS_JOB"] = "\(lease.stage)/\(lease.job)"
        all["VAGUS_ATTEMPT"] = String(lease.attempt)
        all["VAGUS_STEP"] = String(order.index)
        all["VAGUS_WORKSPACE"] = folder.workspace
        all["VAGUS_OUTPUT"] = outputsFile
        return all
    }

    var outputsFile: String { "\(folder.step(order.index))/outputs.txt" }

    /// Time that the step may still take.
    var timeLimit: (left: Duration, words: String) {
        let left = max(.milliseconds(1), deadline.since(shared.time.now))
        if let seconds = order.timeout_seconds, Duration.milliseconds(Int64(seconds * 1000)) < left {
            return (.milliseconds(Int64(seconds * 1000)), "\(TimeSpan(seconds: seconds))")
        }
        return (left, "\(TimeSpan(seconds: lease.timeout_seconds)), the time limit of the job")
    }

    mutating func fail(_ reason: String) {
        (outcome.status, outcome.reason) = (.failed, reason)
    }

    // MARK: run

    private mutating func shell(in place: String) async throws {
        let script = "\(place)/script.sh"
        guard let text = order.settings.string else {
            throw Problem("run.script", status: 422, "a run step has no script")
        }
        try JobFolder.put(Data((text.hasSuffix("\n") ? text : text + "\n").utf8), at: script)
        try JobFolder.put(Data(), at: outputsFile)
        // One pipe for both streams, so that their words stay in order. Not every image has a bash.
        let bash = "exec bash --noprofile --norc -euo pipefail \"$0\" 2>&1"
        let start = "if command -v bash >/dev/null 2>&1; then \(bash); else exec sh -eu \"$0\" 2>&1; fi"
        _ = try await execute(
            "sh", ["-c", start, script], environment: environment, in: folder.workspace, isUser: true)
        do {
            outcome.outputs = try StepOutputs.read(outputsFile)
        } catch let problem as Problem where outcome.status == .succeeded {
            fail(problem.message)
        }
    }

    // MARK: checkout

    private mutating func checkout() async throws {
        guard let repository = order.repository, let commit = order.commit, !commit.hasPrefix("-"),
            !repository.hasPrefix("-")
        else {
            throw Problem("checkout.nothing", status: 422, "there is no commit to check out")
        }
        let spec = try CheckoutSpec(json: order.settings, at: [])
        var variables = environment
        variables["GIT_CONFIG_NOSYSTEM"] = "1"
        variables["GIT_CONFIG_GLOBAL"] = "/dev/null"
        variables["GIT_TERMINAL_PROMPT"] = "0"
        let depth = spec.depth == 0 ? [] : ["--depth=\(spec.depth)"]
        let commands = [
            ["init", "--quiet", "--initial-branch=main", "."],
            ["fetch", "--quiet", "--no-tags", "--force"] + depth + [repository, commit],
            ["checkout", "--quiet", "--force", "--detach", commit],
        ]
        let quiet = ["-c", "advice.detachedHead=false", "-c", "protocol.version=2", "-c", "safe.directory=*"]
        for command in commands {
            guard try await execute("git", quiet + command, environment: variables, in: folder.workspace) else {
                return fail("git \(command[0]) \(outcome.reason ?? "failed")")
            }
        }
        // Where it came from is nobody's business in the workspace.
        try? FileManager.default.removeItem(atPath: "\(folder.workspace)/.git/FETCH_HEAD")  // harmless when it stays
        try await output.say("checked out \(commit)")
        outcome.outputs["commit"] = .string(commit)
    }
}

/// What a script wrote to $VAGUS_OUTPUT: `key=value` lines, or `key<<END`, lines, `END`.
enum StepOutputs {
    static func read(_ path: String) throws -> Ordered<JSONValue> {
        guard let data = FileManager.default.contents(atPath: path) else { return [:] }
        guard data.count <= RunnerLimits.outputsFile else {
            throw Problem(
                "outputs.size", status: 413, "$VAGUS_OUTPUT is larger than \(RunnerLimits.outputsFile >> 10) KiB",
                hint: "Keep large things as artifacts.")
        }
        return try parse(String(decoding: data, as: UTF8.self))
    }

    static func parse(_ text: String) throws(Problem) -> Ordered<JSONValue> {
        var outputs = Ordered<JSONValue>()
        var lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }[...]
        while let line = lines.popFirst() {
            if line.allSatisfy(\.isWhitespace) { continue }
            let sign = line.firstIndex(of: "=")
            if let mark = line.range(of: "<<"), sign.map({ mark.lowerBound < $0 }) ?? true {
                let end = line[mark.upperBound...]
                var value: [Substring] = []
                while let next = lines.popFirst() {
                    if next == end { break }
                    value.append(next)
                    guard !lines.isEmpty else {
                        throw Problem(
                            "outputs.open", status: 422, "$VAGUS_OUTPUT has no line \"\(end)\" that ends a value")
                    }
                }
                try set(line[..<mark.lowerBound], value.joined(separator: "\n"), in: &outputs)
            } else if let sign {
                try set(line[..<sign], String(line[line.index(after: sign)...]), in: &outputs)
            } else {
                throw Problem(
                    "outputs.line", status: 422, "$VAGUS_OUTPUT has a line that is no key=value: \(line.prefix(60))")
            }
        }
        return outputs
    }

    private static func set(_ key: Substring, _ value: String, in outputs: inout Ordered<JSONValue>) throws(Problem) {
        let isName =
            !key.isEmpty && key.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-") }
        guard isName else {
            throw Problem("outputs.key", status: 422, "\"\(key.prefix(60))\" cannot be the name of an output")
        }
        outputs[String(key)] = .string(value)
    }
}
