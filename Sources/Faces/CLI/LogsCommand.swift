import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct LogOutputCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "output", abstract: "Prints the output of a run's jobs; the word `output` may be left out.",
        discussion: """
            Examples:
              vagus logs train:latest
              vagus logs output train:latest
              vagus logs train:12 build/image --follow
              vagus logs train:12 build/image --tail 100
              vagus logs train:12 build/image --line 250000 --lines 40
              vagus logs train:12 --grep 'error|warning' --ignore-case

            Output that goes to a file or a program is as the job wrote it, secrets masked; bytes that are no UTF-8
            become U+FFFD.
            """)
    @OptionGroup var connection: Connection
    @Argument(help: "The run.") var run: String
    @Argument(help: "stage/job; absent: all of them, one after another.") var job: String?
    @Flag(name: .shortAndLong, help: "Stays until the output ends.") var follow = false
    @Option(help: "First line, from 1.") var line: Int?
    @Option(help: "How many lines.") var lines: Int?
    @Option(help: "The last so many lines.") var tail: Int?
    @Option(help: "Only what this try of a job wrote.") var attempt: Int?
    @Option(help: "Only lines in which this regular expression is found, with their numbers.") var grep: String?
    @Flag(help: "Takes a-z and A-Z as the same.") var ignoreCase = false
    @Flag(help: "Shows each ::group:: as one line.") var fold = false

    func validate() throws {
        if line != nil, tail != nil { throw ValidationError("--line and --tail exclude each other.") }
        if let number = [line, lines, attempt].compactMap({ $0 }).first(where: { $0 < 1 }) {
            throw ValidationError("\(number) is not a number from 1 on.")
        }
        if let tail, tail < 0 { throw ValidationError("--tail \(tail) is less than nothing.") }
        if grep != nil, follow || tail != nil {
            throw ValidationError("--grep looks at what is there: it goes with --line, not with --follow or --tail.")
        }
    }

    func run() async throws {
        try await connection.connected { client in
            let found = try await client.call(Runs.get, RunName(project: connection.projectName, run: run))
            let jobs = job.map { [$0] } ?? found.jobs.map(\.key)
            for job in jobs {
                if jobs.count > 1 { Terminal.line(Terminal.styled("── \(job)", .bold)) }
                if let grep {
                    try await search(client, found.id, job, grep)
                } else {
                    try await show(client, found.id, job)
                }
            }
        }
    }

    private func show(_ client: VagusClient, _ run: String, _ job: String) async throws {
        var query = LogQuery()
        (query.project, query.run, query.job, query.wait) = (connection.projectName, run, job, follow)
        (query.line, query.tail, query.lines, query.attempt) = (line, tail, lines, attempt)
        var view = LogView(fold ? .folded : Terminal.isInteractive ? .marked : .raw)
        while true {
            let chunk = try await client.call(Runs.log, query)
            Terminal.out(view.feed(chunk.text))
            let hasMore = chunk.next_offset > query.offset && !chunk.text.isEmpty
            (query.offset, query.line, query.tail) = (chunk.next_offset, nil, nil)
            if let wanted = query.lines {
                let left = wanted - chunk.text.utf8.count { $0 == 0x0A }
                if left <= 0 { break }
                query.lines = left
            }
            if chunk.ended && !hasMore || !follow && !hasMore { break }
        }
        Terminal.out(view.finish())
    }

    private func search(_ client: VagusClient, _ run: String, _ job: String, _ pattern: String) async throws {
        var input = LogSearch()
        (input.project, input.run, input.job) = (connection.projectName, run, job)
        (input.pattern, input.regex, input.ignore_case) = (pattern, true, ignoreCase)
        (input.line, input.limit) = (line ?? 1, 1000)
        var left = lines ?? .max
        while left > 0 {
            let answer = try await client.call(Runs.searchLog, input)
            for match in answer.matches.prefix(left) {
                let text = Terminal.isInteractive ? LogView.safe(match.text) : match.text
                Terminal.line("\(Terminal.styled("\(match.line):", .cyan))\(text)")
            }
            left -= answer.matches.count
            guard let next = answer.next_line else { return }
            input.line = next
        }
    }
}
