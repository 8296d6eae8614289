import API
import Blobs
package import Kernel
import Logging
import Manifests

/// What this room reaches outside with.
package struct Outside: Sendable {
    package var secrets: any SecretSource
    package var tokens: any TokenSigner
    package var metrics: any MetricSource
    /// Asks by POST and gives the whole answer, whatever its status; throws a `Problem` when there is none.
    package var post: @Sendable (_ question: Question, _ deadline: Duration) async throws -> Reply

    package init(
        secrets: any SecretSource, tokens: any TokenSigner, metrics: any MetricSource,
        post: @escaping @Sendable (_ question: Question, _ deadline: Duration) async throws -> Reply
    ) {
        (self.secrets, self.tokens, self.metrics, self.post) = (secrets, tokens, metrics, post)
    }

    package struct Question: Sendable {
        package var url: String
        package var headers: [(String, String)]
        package var body: [UInt8]
    }

    package struct Reply: Sendable {
        package var status: Int
        package var body: [UInt8]
        package init(status: Int, body: [UInt8]) { (self.status, self.body) = (status, body) }
    }
}

/// Asks other systems what gates wait to hear: first the intent is written, then the question is asked, then the answer is
/// written. A question that a crash cut off is asked again under the same Idempotency-Key.
struct CheckReconciler: Reconciler {
    static let name = "pipelines-checks"
    /// Rings when there is a check to ask.
    static let topic = "GateCheck"
    static let topics: Set<String> = [topic]
    let context: DomainContext
    let outside: Outside?

    func keys() async throws -> [CheckID] { try await context.store.read { try $0.openChecks() } }

    func reconcile(_ key: CheckID) async throws -> Next {
        let known = try await context.store.read { sql in
            guard let check = try sql.check(key), let stored = try sql.run(id: key.key.run),
                let gate = try sql.gate(key.key)
            else { return (StoredCheck, StoredRun, StoredGate)?.none }
            return (check, stored, gate)
        }
        guard let (check, stored, gate) = known, check.told.status == .waiting, gate.status == .waiting else {
            return .settled
        }
        let now = context.time.now
        let deadline = check.told.began_at.advanced(by: check.spec.timeout.duration)
        if now >= deadline {
            let last = check.told.message.map { "; the last answer was: \($0)" } ?? ""
            try await note(.failed("it was not yes within \(check.spec.timeout)\(last)"), check, gate)
            return .settled
        }
        if now < check.nextAt { return .again(in: min(check.nextAt, deadline).since(now)) }
        guard try await intend(check) else { return .now }
        let answer = await ask(check, gate, stored.run)
        try Task.checkCancellation()
        try await note(answer, check, gate)
        if case .notYet = answer { return .again(in: min(GateLimits.askAgain, deadline.since(context.time.now))) }
        return .settled
    }

    /// What a system has said.
    enum Answer: Sendable, Equatable {
        case passed(String)
        case failed(String)
        case notYet(String)
    }

    private func call(_ check: StoredCheck) -> Call { .system("pipelines", correlation: check.key.run) }

    private func intend(_ check: StoredCheck) async throws -> Bool {
        let id = CheckID(key: check.key, digest: check.digest, position: check.told.position)
        return try await context.store.change(call(check)) { change in
            guard var fresh = try change.sql.check(id), fresh == check else { return false }
            fresh.told.attempts += 1
            fresh.nextAt = change.now.advanced(by: GateLimits.askAgain)
            try change.sql.keep(fresh)
            return true
        }
    }

    private func note(_ answer: Answer, _ check: StoredCheck, _ gate: StoredGate) async throws {
        let id = CheckID(key: check.key, digest: check.digest, position: check.told.position)
        try await context.store.change(call(check)) { change in
            guard var fresh = try change.sql.check(id), fresh.told.status == .waiting else { return }
            let name: String?
            switch answer {
            case .passed(let text): (fresh.told.status, fresh.told.message, name) = (.passed, text, "gate.check-passed")
            case .failed(let text): (fresh.told.status, fresh.told.message, name) = (.failed, text, "gate.check-failed")
            case .notYet(let text): (fresh.told.message, name) = (text, nil)
            }
            if name != nil { fresh.told.ended_at = change.now }
            try change.sql.keep(fresh)
            change.ring("Run/\(check.key.run)")
            guard let name else { return }
            try change.tellGate(
                name, gate,
                ["check": .string(fresh.told.title), "message": fresh.told.message.map(JSONValue.string) ?? .null])
        }
    }

    // MARK: Asking

    private func ask(_ check: StoredCheck, _ gate: StoredGate, _ run: Run) async -> Answer {
        guard let outside else { return .failed("this server asks no other systems") }
        do {
            if let url = check.spec.webhook {
                let request = try await webhook(url, check, gate, run, outside)
                return Self.reading(webhook: try await outside.post(request, GateLimits.answer))
            }
            if let query = check.spec.query, let source = check.spec.source {
                return Self.reading(
                    query: try await outside.post(Self.query(query, source), GateLimits.answer), check.spec)
            }
            let checks = MetricChecks(metrics: outside.metrics, now: context.time.now)
            if let query = check.spec.query { return try await checks.ask(query: query, check.spec) }
            guard let name = check.spec.slo else { return .failed("this server does not know how to ask for it") }
            let reference = Reference<SloKind>(project: run.project, name: name)
            let slo = try await context.store.read { try $0.resource(SloKind.self, reference)?.spec }
            return try await checks.ask(slo: slo, check.spec, project: run.project)
        } catch let problem as Problem {
            return .notYet(problem.message)
        } catch {
            return .notYet("no answer")
        }
    }

    /// The question, signed: a JWT whose `body_sha256` is the body's, to be checked with the server's published keys.
    private func webhook(
        _ url: String, _ check: StoredCheck, _ gate: StoredGate, _ run: Run, _ outside: Outside
    ) async throws -> Outside.Question {
        func text(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
        let body: JSONValue = [
            "id": .string(check.id), "project": .string(run.project), "pipeline": .string(run.pipeline),
            "run": .string(run.id), "number": .integer(Int64(run.number)), "stage": .string(gate.key.stage),
            "job": .string(gate.key.job), "environment": .string(gate.environment), "digest": .string(gate.digest),
            "commit": text(run.commit), "ref": text(run.trigger.ref), "actor": .string(run.trigger.actor),
        ]
        let token = try await outside.tokens.sign(
            [
                "sub": .string("project:\(run.project):pipeline:\(run.pipeline):environment:\(gate.environment)"),
                "aud": .string(url), "body_sha256": .string(Digest(of: body.bytes).hex),
            ], life: .seconds(300))
        return Outside.Question(
            url: url,
            headers: [
                ("Content-Type", "application/json"), ("Idempotency-Key", check.id), ("X-Vagus-Token", token),
                ("User-Agent", "vagus"),
            ], body: body.bytes)
    }

    static func reading(webhook response: Outside.Reply) -> Answer {
        let text = words(response)
        switch response.status {
        case 202: return .notYet(text ?? "it is thinking about it (202)")
        case 200..<300: return .passed(text ?? "yes (\(response.status))")
        // Too early, too many, too slow: not an answer to the question.
        case 408, 425, 429: return .notYet(text ?? "it asks for patience (\(response.status))")
        case 400..<500: return .failed(text ?? "no (\(response.status))")
        default: return .notYet("it answered \(response.status)" + (text.map { ": \($0)" } ?? ""))
        }
    }

    /// The answer in words: its JSON's `message` or `reason`, or its text.
    private static func words(_ response: Outside.Reply) -> String? {
        let bytes = Array(response.body.prefix(GateLimits.answerBytes))
        var text = String(decoding: bytes, as: UTF8.self)
        do {
            let json = try JSONParser.parse(bytes)
            text = json["message"]?.string ?? json["reason"]?.string ?? json.string ?? ""
        } catch {
            // No JSON: its text is what there is. A page of HTML says nothing in a line.
            if text.first(where: { !$0.isWhitespace }) == "<" { return nil }
        }
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.isEmpty ? nil : String(line.prefix(GateLimits.messageLength))
    }

    private static func query(_ query: String, _ source: String) -> Outside.Question {
        let body =
            "query="
            + query.utf8.map { byte in
                let isPlain =
                    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                return isPlain
                    ? String(UnicodeScalar(byte))
                    : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }.joined()
        let base = source.hasSuffix("/") ? String(source.dropLast()) : source
        return Outside.Question(
            url: base + "/api/v1/query", headers: [("Content-Type", "application/x-www-form-urlencoded")],
            body: Array(body.utf8))
    }

    /// Reads an answer of Prometheus' HTTP API (`/api/v1/query`): a vector or a scalar.
    static func reading(query response: Outside.Reply, _ spec: GateCheckSpec) -> Answer {
        let json: JSONValue
        do {
            json = try JSONParser.parse(response.body)
        } catch {
            return .notYet("it answered \(response.status) without JSON")
        }
        guard (200..<300).contains(response.status), json["status"]?.string == "success" else {
            let message = json["error"]?.string ?? "it answered \(response.status)"
            // A query that Prometheus cannot read will not be read the next time.
            return response.status == 400 ? .failed(message) : .notYet(message)
        }
        let result = json["data"]?["result"] ?? .null
        let samples =
            json["data"]?["resultType"]?.string == "scalar"
            ? [result[1]] : (result.array ?? []).map { $0["value"]?[1] }
        let values = samples.compactMap { $0?.string.flatMap(Double.init) ?? $0?.double }
        guard values.count == samples.count else { return .notYet("the query finds nothing") }
        return MetricChecks.reading(values, spec)
    }
}
