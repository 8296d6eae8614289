import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct TestsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tests", abstract: "Shows the tests of a pipeline, their history, and those in quarantine.",
        discussion: """
            Examples:
              vagus tests shop-api --flaky
              vagus tests history CartTests.adds --pipeline shop-api
              vagus tests quarantine CartTests.adds --owner team:shop --expire 14d --reason "issue 12"
              vagus tests release CartTests.adds
            """,
        subcommands: [TestsList.self, TestsHistory.self, TestsQuarantine.self, TestsRelease.self],
        defaultSubcommand: TestsList.self)
}

/// The pipeline whose test is meant.
struct TestChoice: ParsableArguments {
    @OptionGroup var connection: Connection
    @Argument(help: "The test: SUITE.NAME, or NAME alone when no other has it.") var test: String
    @Option(help: "Its pipeline; absent: the one that has such a test.") var pipeline: String?

    func pipeline(_ client: VagusClient) async throws -> String {
        if let pipeline { return pipeline }
        var query = ResourceQuery()
        (query.project, query.kind) = (connection.projectName, PipelineKind.plural)
        var found: [String] = []
        for name in try await client.call(Resources.list, query).items.map(\.name) {
            var history = TestHistoryQuery()
            (history.project, history.pipeline, history.test, history.limit) = (connection.projectName, name, test, 1)
            do {
                _ = try await client.call(Tests.history, history)
                found.append(name)
            } catch let problem as Problem where problem.code == "test.not-found" {
                continue
            }
        }
        if found.count == 1 { return found[0] }
        throw Problem(
            found.isEmpty ? "test.not-found" : "test.ambiguous", status: found.isEmpty ? 404 : 422,
            found.isEmpty ? "no pipeline has told of a test \"\(test)\"" : "several pipelines have a test \"\(test)\"",
            hint: found.isEmpty
                ? "List a pipeline's tests with: vagus tests PIPELINE" : "Name one: --pipeline \(found[0])")
    }
}

struct TestsList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists the tests of a pipeline.")
    @OptionGroup var connection: Connection
    @Argument var pipeline: String
    @Flag(help: "Only those that failed and passed on the same code.") var flaky = false
    @Flag(help: "Only those in quarantine.") var quarantined = false
    @Flag(help: "Only those that failed when they ran last.") var failing = false
    @Option var limit = 200

    func run() async throws {
        var query = TestQuery()
        (query.project, query.pipeline, query.limit) = (connection.projectName, pipeline, limit)
        (query.flaky, query.quarantined, query.failing) = (flaky, quarantined, failing)
        let asked = query
        let list = try await connection.connected { try await $0.call(Tests.list, asked) }
        connection.show(list) {
            guard !list.items.isEmpty else { return "no such tests\n" }
            var table = Table(["TEST", "LAST", "RUNS", "FAILED", "FLAKY", "TAKES", "QUARANTINE"])
            table.rows = list.items.map { test in
                [
                    test.id, Self.words(test.verdict), "\(test.runs)", "\(test.failures)",
                    test.is_flaky ? Terminal.styled("\(test.flakes)", .yellow) : "\(test.flakes)",
                    Words.length(seconds: test.mean_seconds), Self.words(test.quarantine),
                ]
            }
            return table.text
        }
    }

    static func words(_ verdict: TestCase.Verdict) -> String {
        let style: Terminal.Style =
            switch verdict {
            case .passed: .green
            case .skipped: .dim
            case .failed, .broken: .red
            }
        return Terminal.styled(verdict.rawValue, style)
    }

    static func words(_ quarantine: TestQuarantine?) -> String {
        guard let quarantine else { return "-" }
        let time = quarantine.has_expired ? "expired" : "until \(quarantine.until.description.prefix(10))"
        return "\(quarantine.owner) \(time)"
    }
}

struct TestsHistory: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Shows how a test ended, newest first.",
        discussion: "Example:\n  vagus tests history CartTests.adds --pipeline shop-api")
    @OptionGroup var choice: TestChoice
    @Option var limit = 20

    func run() async throws {
        let history = try await choice.connection.connected { client in
            var query = TestHistoryQuery()
            (query.project, query.test, query.limit) = (choice.connection.projectName, choice.test, limit)
            query.pipeline = try await choice.pipeline(client)
            return try await client.call(Tests.history, query)
        }
        choice.connection.show(history) {
            let test = history.test
            var out = "\(Terminal.styled(test.id, .bold)) of \(test.pipeline)"
            out += ": \(test.runs) runs, \(test.failures) failed, \(test.flakes) flaky\n"
            if let quarantine = test.quarantine {
                out +=
                    "  quarantine: \(TestsList.words(quarantine))" + (quarantine.reason.map { ", \($0)" } ?? "") + "\n"
            }
            var table = Table(["RUN", "VERDICT", "COMMIT", "JOB", "TRY", "TOOK", "MESSAGE"])
            table.rows = history.results.map { result in
                [
                    "\(test.pipeline):\(result.number)",
                    TestsList.words(result.verdict) + (result.is_flaky ? Terminal.styled(" flaky", .yellow) : ""),
                    String((result.commit ?? "-").prefix(9)), result.job,
                    "\(result.attempt)" + (result.round > 0 ? ", rerun \(result.round)" : ""),
                    Words.length(seconds: result.seconds),
                    String((result.message ?? "").prefix { $0 != "\n" }),
                ]
            }
            return out + table.text
        }
    }
}

struct TestsQuarantine: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quarantine", abstract: "Lets a test's failures not fail its job, for a while.",
        discussion: """
            Example:
              vagus tests quarantine CartTests.adds --pipeline shop-api --owner team:shop --expire 14d --reason "issue 12"
            """)
    @OptionGroup var choice: TestChoice
    @Option(help: "Who looks after it: team:shop, user:ana.") var owner: String
    @Option(help: "How long: 30d, 2w.") var expire = "30d"
    @Option(help: "Why.") var reason: String?

    func run() async throws {
        let record = try await choice.connection.connected { client in
            var input = QuarantineInput()
            (input.project, input.test, input.owner) = (choice.connection.projectName, choice.test, owner)
            input.expire = try TimeSpan(json: .string(expire), at: ["expire"])
            (input.reason, input.pipeline) = (reason, try await choice.pipeline(client))
            return try await client.call(Tests.quarantine, input)
        }
        choice.connection.show(record) { "\(record.id) is in quarantine: \(TestsList.words(record.quarantine))\n" }
    }
}

struct TestsRelease: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Ends a test's quarantine: its failures count again.",
        discussion: "Example:\n  vagus tests release CartTests.adds --pipeline shop-api")
    @OptionGroup var choice: TestChoice

    func run() async throws {
        let record = try await choice.connection.connected { client in
            var input = TestName()
            (input.project, input.test) = (choice.connection.projectName, choice.test)
            input.pipeline = try await choice.pipeline(client)
            return try await client.call(Tests.release, input)
        }
        choice.connection.show(record) { "the failures of \(record.id) count again\n" }
    }
}
