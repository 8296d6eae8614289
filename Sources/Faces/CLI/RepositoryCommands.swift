import API
import ArgumentParser
import Client
import Manifests

struct TriggersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "triggers", abstract: "What sets a pipeline off, and when its schedules come next.",
        discussion: "Example:\n  vagus triggers nightly --times 10")
    @OptionGroup var connection: Connection
    @Argument var pipeline: String
    @Option(help: "How many of the next times of a schedule.") var times = 5

    func run() async throws {
        var query = TriggerQuery()
        (query.project, query.pipeline, query.times) = (connection.projectName, pipeline, times)
        let sent = query
        let list = try await connection.connected { try await $0.call(Triggers.list, sent) }
        connection.show(list) {
            guard !list.items.isEmpty else { return "nothing but `vagus run \(pipeline)` sets it off\n" }
            return list.items.map { info in
                var settings = info.spec[info.type.rawValue]?.text ?? "{}"
                if settings == "{}" { settings = "" }
                var text = "\(Terminal.styled(info.type.rawValue, .bold)) \(settings)\n"
                if let last = info.last_at { text += "  last \(last)\n" }
                for time in info.next { text += "  next \(time)\n" }
                return text
            }.joined()
        }
    }
}

struct StatusesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "statuses", abstract: "How the pipelines of a commit stand.",
        discussion: "Example:\n  vagus statuses shop --commit refs/pull/7/head")
    @OptionGroup var connection: Connection
    @Argument var repository: String
    @Option(help: "Commit, branch or tag; absent: head of the default branch.") var commit = ""

    func run() async throws {
        var query = StatusQuery()
        (query.project, query.name, query.commit) = (connection.projectName, repository, commit)
        let sent = query
        let list = try await connection.connected { try await $0.call(Repositories.statuses, sent) }
        connection.show(list) {
            var table = Table(["PIPELINE", "STATE", "RUN", "SINCE", ""])
            table.rows = list.items.map {
                [
                    $0.pipeline, $0.state.rawValue, "\($0.pipeline):\($0.number)", Words.ago($0.changed_at),
                    $0.description,
                ]
            }
            return list.items.isEmpty ? "no pipeline has run on this commit\n" : table.text
        }
    }
}

struct PullsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pulls", abstract: "Pull requests of a repository.",
        discussion:
            "Open one with: git push -o pull_request.create origin BRANCH\n\nExamples:\n  vagus pulls list shop\n  vagus pulls merge shop 7",
        subcommands: [List.self, Merge.self, Close.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists pull requests, newest first.",
            discussion: "Example:\n  vagus pulls list shop --state merged")
        @OptionGroup var connection: Connection
        @Argument var repository: String
        @Option(help: "open, merged or closed; absent: all.") var state: String?

        func run() async throws {
            var query = PullQuery()
            (query.project, query.repository) = (connection.projectName, repository)
            query.state = try state.map { try PullRequest.State(json: .string($0), at: ["state"]) }
            let sent = query
            let list = try await connection.connected { try await $0.call(Pulls.list, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else {
                    return "no pull requests; open one with: git push -o pull_request.create origin BRANCH\n"
                }
                var table = Table(["NUMBER", "STATE", "TITLE", "FROM", "INTO", "AUTHOR", "UPDATED"])
                table.rows = list.items.map {
                    [
                        "\($0.number)", $0.state.rawValue, $0.title,
                        Self.branch($0.head_ref) + ($0.is_fork ? " (fork)" : ""),
                        Self.branch($0.base_ref), $0.author, Words.ago($0.updated_at),
                    ]
                }
                return table.text
            }
        }

        private static func branch(_ ref: String) -> String {
            ref.hasPrefix("refs/heads/") ? String(ref.dropFirst(11)) : ref
        }
    }

    struct Merge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "merge", abstract: "Merges a pull request of a hosted repository.",
            discussion: "Example:\n  vagus pulls merge shop 7 --method fast_forward")
        @OptionGroup var connection: Connection
        @Argument var repository: String
        @Argument var number: Int
        @Option(help: "merge or fast_forward.") var method = "merge"
        @Option(help: "Message of the merge commit.") var message: String?
        @Option(help: "Merges only when the branch still has this head.") var head: String?

        func run() async throws {
            var input = MergeInput()
            (input.project, input.repository, input.number) = (connection.projectName, repository, number)
            (input.message, input.head) = (message, head)
            input.method = try MergeInput.Method(json: .string(method), at: ["method"])
            let sent = input
            let pull = try await connection.connected { try await $0.call(Pulls.merge, sent) }
            connection.show(pull) { "pull request \(pull.number) merged as \((pull.merged_commit ?? "").prefix(12))\n" }
        }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "close", abstract: "Closes a pull request without merging it.",
            discussion: "Example:\n  vagus pulls close shop 7")
        @OptionGroup var connection: Connection
        @Argument var repository: String
        @Argument var number: Int

        func run() async throws {
            var input = PullName()
            (input.project, input.repository, input.number) = (connection.projectName, repository, number)
            let sent = input
            let pull = try await connection.connected { try await $0.call(Pulls.close, sent) }
            connection.show(pull) { "pull request \(pull.number) closed\n" }
        }
    }
}
