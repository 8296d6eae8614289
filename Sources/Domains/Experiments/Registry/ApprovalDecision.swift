import API
import Blobs
import Manifests

/// What becomes of a request when somebody speaks or time passes; pure.
enum ApprovalDecision {
    enum Answer: Sendable, Equatable {
        /// It changes nothing: said before.
        case same
        case keep(ModelRequest)
        case refuse(Problem)
    }

    /// Bytes of a comment.
    static let commentBytes = 4000

    /// What a person's word makes of a request.
    ///
    /// - Parameter digest: Evidence of the version as it is now.
    static func say(
        _ verdict: Approval.Verdict, by person: String, _ input: ModelVerdictInput, of request: ModelRequest,
        now digest: String, _ people: People, at now: Timestamp
    ) -> Answer {
        if let later = later(request, now: digest, at: now) { return .keep(later) }
        if let refusal = refusal(verdict, by: person, input, of: request, people) { return .refuse(refusal) }
        let isSaid = request.approvals.contains { $0.by == person && $0.verdict == verdict && !$0.is_void }
        guard !isSaid else { return .same }
        var said = Approval()
        (said.by, said.verdict, said.comment, said.digest, said.at) = (
            person, verdict, comment(input.comment), request.digest, now
        )
        var next = request
        next.approvals.removeAll { $0.by == person }
        next.approvals.append(said)
        if verdict == .rejected {
            (next.status, next.ended_at) = (.rejected, now)
            next.reason = "rejected by \(person)" + (said.comment.map { ": \($0)" } ?? "")
        } else if yes(next).count >= next.min {
            (next.status, next.ended_at) = (.approved, now)
            next.reason = "approved by \(yes(next).joined(separator: ", "))"
        }
        return .keep(next)
    }

    /// What time, or a change of what was looked at, has made of a request; nil when it stands as it did.
    static func later(_ request: ModelRequest, now digest: String, at now: Timestamp) -> ModelRequest? {
        guard request.status == .waiting || request.status == .approved else { return nil }
        var next = request
        if digest != request.digest {
            (next.status, next.ended_at, next.reason) = (.voided, now, "the version is not what was looked at")
            for index in next.approvals.indices { next.approvals[index].is_void = true }
            return next
        }
        guard now >= request.expires_at, request.used_at == nil else { return nil }
        let was =
            request.status == .approved ? "was approved and not used" : "had \(yes(request).count) of \(request.min)"
        (next.status, next.ended_at, next.reason) = (.expired, now, "expired: it \(was)")
        return next
    }

    static func yes(_ request: ModelRequest) -> [String] {
        Set(request.approvals.filter { $0.verdict == .approved && !$0.is_void }.map(\.by)).sorted()
    }

    static func isFor(_ person: String, _ request: ModelRequest, _ people: People) -> Bool {
        request.status == .waiting && people.isNamed(person, in: request.from)
            && !request.approvals.contains { $0.by == person && !$0.is_void }
            && !(request.not_author && isAuthor(person, of: request, people))
    }

    static func isAuthor(_ person: String, of request: ModelRequest, _ people: People) -> Bool {
        (request.authors + [request.requested_by]).contains { people.isSame(person, $0) }
    }

    private static func refusal(
        _ verdict: Approval.Verdict, by person: String, _ input: ModelVerdictInput, of request: ModelRequest,
        _ people: People
    ) -> Problem? {
        let name = "\(request.model)@\(request.version)"
        guard request.status == .waiting else {
            return Problem(
                "approval.over", status: 409,
                "the request for \"\(name)\" as \(request.stage) is \(request.status.rawValue) already",
                hint: "See how it went: vagus models show \(name)")
        }
        guard people.isNamed(person, in: request.from) else {
            return Problem(
                "approval.not-asked", status: 403,
                "\(person) is not asked: stage \"\(request.stage)\" asks \(request.from.joined(separator: ", "))",
                hint: "Ask one of them.")
        }
        // Whoever finds their own work wanting may always say so.
        if verdict == .approved, request.not_author, isAuthor(person, of: request, people) {
            return Problem(
                "approval.author", status: 403, "\(person) has made \"\(name)\", or asked for its approval",
                hint: "Stage \"\(request.stage)\" wants the approval of somebody else.")
        }
        let comment = comment(input.comment)
        guard comment != nil || request.comment_rule == .optional else {
            return Problem(
                "approval.comment", status: 422, "stage \"\(request.stage)\" wants to know why",
                hint: "Add --comment \"…\".")
        }
        guard (comment?.utf8.count ?? 0) <= commentBytes else {
            return Problem(
                "approval.comment", status: 413, "a comment has at most \(commentBytes) bytes", hint: "Say it shorter.")
        }
        if let seen = input.digest, !request.digest.hasPrefix(seen), !request.digest.hasPrefix("sha256:\(seen)") {
            return Problem(
                "approval.changed", status: 409, "what waits is not \(seen)",
                hint: "Look at it again: vagus models show \(name)")
        }
        return nil
    }

    private static func comment(_ text: String?) -> String? {
        text.flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
    }

    /// What an approval is bound to: all of the version that people judge by.
    static func digest(of version: ModelVersion) -> String {
        let content: JSONValue = [
            "digest": .string(version.digest), "source": version.source.json, "signature": version.signature,
            "metrics": version.metrics.json, "facts": version.facts.json, "format": .string(version.format),
            "commit": version.commit.json, "data_digest": version.data_digest.json, "parent": version.parent.json,
        ]
        return Digest(of: Array(content.canonicalText.utf8)).text
    }
}
