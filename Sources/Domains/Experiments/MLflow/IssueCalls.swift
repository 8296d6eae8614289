import API
import Kernel
import Manifests
import SQL

/// MLflow's calls about issues.
struct IssueCalls: Sendable {
    let tracking: TrackingHouse

    private static let standardResults: Int64 = 100

    var routes: [MLflowRoute] {
        let base = "/api/3.0/mlflow/issues"
        return [
            MLflowRoute("POST", base, create), MLflowRoute("POST", "\(base)/search", needs: .read, search),
            MLflowRoute("GET", "\(base)/{issue_id}", get), MLflowRoute("PATCH", "\(base)/{issue_id}", update),
        ]
    }

    private static func missing(_ id: String) -> MLflowError { .missing("Issue with ID '\(id)' not found") }

    private static func filled(_ input: MLflowInput, _ name: String) throws(MLflowError) -> String? {
        guard let text = try input.text(name), !text.isEmpty else { return nil }
        return text
    }

    private static func status(_ input: MLflowInput) throws(MLflowError) -> String? {
        guard let told = try input.text("status") else { return nil }
        guard StoredIssue.statuses.contains(told) else { throw .wrong("status", .string(told)) }
        return told
    }

    private static func severity(_ input: MLflowInput) throws(MLflowError) -> Int64? {
        guard let told = try input.text("severity") else { return nil }
        guard let rank = StoredIssue.severities.firstIndex(of: told) else { throw .wrong("severity", .string(told)) }
        return Int64(rank)
    }

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (name, description) = (try input.string("name"), try input.string("description"))
        let experiment = try NameRules.experimentID(input.string("experiment_id"))
        let (project, now) = (input.project, try tracking.store.milliseconds)
        var issue = StoredIssue(
            id: "iss-\(RunNames.id())", experiment: experiment, name: name, description: description, created: now,
            updated: now)
        if let status = try Self.status(input) { issue.status = status }
        issue.severity = try Self.severity(input)
        issue.rootCauses = try input.strings("root_causes")
        issue.categories = try input.strings("categories")
        issue.sourceRun = try Self.filled(input, "source_run_id")
        issue.createdBy = try Self.filled(input, "created_by")
        let made = issue
        try await tracking.store.write { sql in
            // One that is deleted is not there for this call.
            guard try !sql.experiment(experiment, in: project).isDeleted else {
                throw MLflowError.missing("No Experiment with id=\(experiment) exists")
            }
            try sql.insert(made)
        }
        return .json(["issue": made.json])
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (input.path["issue_id"] ?? "", input.project)
        guard let issue = try await tracking.store.read({ try $0.issue(id, in: project) }) else {
            throw Self.missing(id)
        }
        return .json(["issue": issue.json])
    }

    private func update(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, now) = (input.path["issue_id"] ?? "", input.project, try tracking.store.milliseconds)
        // The id is wanted in the body, too.
        _ = try input.string("issue_id")
        let (status, severity) = (try Self.status(input), try Self.severity(input))
        let (name, description) = (try Self.filled(input, "name"), try Self.filled(input, "description"))
        let updated = try await tracking.store.write { sql in
            guard var issue = try sql.issue(id, in: project) else { throw Self.missing(id) }
            if let status { issue.status = status }
            if let severity { issue.severity = severity }
            if let name { issue.name = name }
            if let description { issue.description = description }
            issue.updated = now
            try sql.update(issue)
            return issue
        }
        return .json(["issue": updated.json])
    }

    private func search(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let experiment = try Self.filled(input, "experiment_id").map(NameRules.experimentID)
        let filter = try input.text("filter_string") ?? ""
        let countsTraces = try input.bool("include_trace_count") ?? false
        let limit = try NameRules.results(input.integer("max_results"), standard: Self.standardResults)
        var plan = IssueSearch(
            project: input.project, experiment: experiment, filter: try FilterParser.parse(filter, .issues),
            countsTraces: countsTraces, limit: limit)
        let store = try tracking.store
        let question = ["issues", input.project, "\(experiment ?? -1)", filter, "\(countsTraces)"]
        if let token = try input.text("page_token"), !token.isEmpty {
            plan.place = try store.tokens.read(token, for: question)
        }
        let wanted = plan
        let page = try await store.read { try wanted.run(in: $0) }
        var json: Ordered<JSONValue> = [:]
        if !page.items.isEmpty { json["issues"] = .array(page.items.map(\.json)) }
        json["next_page_token"] = .string(page.next.map { store.tokens.make($0, for: question) } ?? "")
        return .json(.object(json))
    }
}
