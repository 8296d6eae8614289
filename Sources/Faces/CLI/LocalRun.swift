import API
import ArgumentParser
import Client
import Foundation
import Logging
import Manifests
import Outbound
import Server
import Synchronization

/// What `vagus run --local` takes beside what `vagus run` takes.
struct LocalFlags: ParsableArguments {
    @Flag(help: "Runs a file's pipeline here, without a server: vagus run --local FILE [JOB…].") var local = false
    @Argument(help: "With --local: only these jobs (stage or stage/job) and what they need.") var jobs: [String] = []
    @Option(help: "With --local: a branch, tag or commit instead of the files as they stand.") var ref: String?
    @Option(name: .customLong("pipeline"), help: "With --local: which pipeline, when the file has several.")
    var chosen: String?
    @Option(help: "With --local: a secret, its value taken from the environment variable of that name, or asked for.")
    var secret: [String] = []
    @Flag(help: "With --local: says yes to every approval.") var approve = false
    @Flag(help: "With --local: keeps the data folder, for vagus dev --data and vagus shell.") var keep = false

    /// Refuses what has a meaning only here.
    func check() throws {
        guard !local else { return }
        if !jobs.isEmpty { throw ValidationError("Jobs are chosen with --local only.") }
        if ref != nil || chosen != nil || keep || approve || !secret.isEmpty {
            throw ValidationError("--ref, --pipeline, --secret, --approve and --keep go with --local.")
        }
    }
}

/// A pipeline run on this machine: the same house as `vagus dev`, opened in a folder of its own for one run.
struct LocalRun: Sendable {
    let file: String
    let flags: LocalFlags
    let connection: Connection
    let parameters: Ordered<JSONValue>

    /// Lines of the log that are shown of a job that failed.
    static let tail = 60
    /// How long services that the run has deployed may take to end.
    static let endingTime = Duration.seconds(15)

    func run() async throws {
        let manifests = try LocalManifests.read(
            file, pipeline: flags.chosen, jobs: flags.jobs, project: connection.projectName)
        let folder = try Self.makeFolder()
        let result: Result<Void, any Error>
        do {
            result = .success(try await run(manifests, in: folder))
        } catch {
            result = .failure(error)
        }
        if flags.keep {
            Terminal.error("kept: \(folder)/data  (vagus dev --data \(folder)/data)\n")
        } else {
            Self.remove(folder)
        }
        try result.get()
    }

    private func run(_ manifests: LocalManifests, in folder: String) async throws {
        let around = URL(filePath: file).standardizedFileURL.deletingLastPathComponent().path
        let tree = try await WorkTree.copy(
            around: around, to: "\(folder)/work-tree.git", ref: flags.ref, withRefs: manifests.wantsRefs)
        if let tree, tree.hasChanges, connection.output == .table {
            Terminal.error("running \(tree.branch) with what is not committed yet\n")
        }
        var options = ServerOptions(data: "\(folder)/data", executable: executablePath()) { _ in }
        (options.port, options.hasAuth, options.proxy) = (0, false, ("127.0.0.1", 0))
        let house = try await House(
            options, logger: Logger(label: "vagus") { LineLogHandler(label: $0, level: .error) })
        let outcome = Mutex<(any Error)?>(nil)
        try await house.run { client in
            do {
                try await visit(client, manifests, tree, in: folder)
            } catch {
                // The house would tell of a service that failed; what the guest has to say is said by itself.
                outcome.withLock { $0 = error }
            }
        }
        if let error = outcome.withLock({ $0 }) { throw error }
    }

    /// In the open house: applies, starts, looks on, cleans up.
    private func visit(_ client: VagusClient, _ manifests: LocalManifests, _ tree: WorkTree?, in folder: String)
        async throws
    {
        let project = connection.projectName
        var apply = ApplyInput()
        (apply.project, apply.documents) = (project, manifests.documents)
        apply.documents.append(Self.repository(tree))
        _ = try await client.call(Resources.apply, apply)
        for name in flags.secret {
            var secret = SecretInput()
            (secret.project, secret.name, secret.value) = (project, name, .string(try Self.secret(name)))
            _ = try await client.call(Secrets.set, secret)
        }
        var input = RunInput()
        (input.project, input.pipeline, input.parameters) = (project, manifests.pipeline, parameters)
        input.commit = tree?.branch
        let run = try await client.call(Runs.start, input)
        let wasInterrupted = Mutex(false)
        let gates = LocalGates(client: client, project: project, approvesAll: flags.approve)
        var end: (any Error)?
        do {
            try await Interrupts.during {
                try await RunView(client: client, connection: connection).follow(run) { run in
                    try await gates.look(at: run)
                }
            } heed: { count in
                wasInterrupted.withLock { $0 = true }
                // Asked twice: whoever asks does not want to wait for steps that heed nothing.
                guard count == 1 else { throw CancellationError() }
                _ = try await client.call(Runs.cancel, RunName(project: project, run: run.id))
            }
        } catch {
            end = error
        }
        try await showFailures(of: run.id, client)
        try await endServices(client, in: folder)
        if wasInterrupted.withLock({ $0 }) { throw CancellationError() }
        if let end { throw end }
    }

    /// Never from the command line, where other users of the machine could read it.
    private static func secret(_ name: String) throws -> String {
        if let value = ProcessInfo.processInfo.environment[name] { return value }
        guard isatty(STDIN_FILENO) == 1 else {
            throw Problem(
                "local.secret", status: 422, "there is no environment variable \"\(name)\" to take the secret from",
                hint: "Set it, or run this on a terminal, where it is asked for.")
        }
        return String(decoding: try Prompt.hidden("Value of \(name): "), as: UTF8.self)
    }

    /// The commit's home; without a work tree there is nothing to check out, which such a step then says.
    private static func repository(_ tree: WorkTree?) -> JSONValue {
        var members: Ordered<JSONValue> = [
            "kind": .string(RepositoryKind.name), "name": .string(LocalManifests.repository),
        ]
        if let tree {
            members["path"] = .string(tree.place)
            members["default_branch"] = .string(tree.branch)
        }
        // The manifests have been applied already, from the files as they stand.
        members["manifests"] = ".vagus-none"
        return .object(members)
    }

    /// The end of each failed job's output: the folder that holds it goes away.
    private func showFailures(of id: String, _ client: VagusClient) async throws {
        guard connection.output == .table else { return }
        let run = try await client.call(Runs.get, RunName(project: connection.projectName, run: id))
        for job in run.jobs where job.status == .failed {
            var query = LogQuery()
            (query.project, query.run, query.job) = (connection.projectName, id, job.key)
            var lines: [Substring] = []
            var rest = ""
            while true {
                let chunk = try await client.call(Runs.log, query)
                let parts = (rest + chunk.text).split(separator: "\n", omittingEmptySubsequences: false)
                rest = String(parts.last ?? "")
                lines = Array((lines + parts.dropLast()).suffix(Self.tail))
                if chunk.next_offset <= query.offset { break }
                query.offset = chunk.next_offset
            }
            if !rest.isEmpty { lines.append(rest[...]) }
            Terminal.line(Terminal.styled("── \(job.key)", .bold))
            for line in lines { Terminal.line(String(line)) }
        }
    }

    /// Ends what the run has deployed: nobody would look after it when we are gone.
    private func endServices(_ client: VagusClient, in folder: String) async throws {
        var query = ResourceQuery()
        (query.project, query.kind) = (connection.projectName, ServiceKind.plural)
        let services = try await client.call(Resources.list, query).items
        guard !services.isEmpty else { return }
        for service in services {
            _ = try await client.call(
                Resources.delete, ResourceName(project: query.project, kind: query.kind, name: service.name))
        }
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: Self.endingTime)
        while clock.now < end, Self.hasInstances("\(folder)/data/instances") {
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Whether a copy of a service has not been told to end yet.
    private static func hasInstances(_ folder: String) -> Bool {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []  // none: nothing runs
        return names.contains { name in
            guard let data = FileManager.default.contents(atPath: "\(folder)/\(name)/instance.json") else {
                return false
            }
            let record = try? JSONParser.parse(Array(data))  // torn: being written, so look again
            return record?["ended_at"]?.isNull ?? true
        }
    }

    private static func makeFolder() throws -> String {
        var template = Array("\(NSTemporaryDirectory())/vagus-local-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw Problem(
                "local.folder", status: 500, "could not make a folder in \(NSTemporaryDirectory())",
                hint: "Set TMPDIR to a folder that you may write to.")
        }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .replacing("//", with: "/")
    }

    /// Parts that a program has made read-only are removed too.
    private static func remove(_ folder: String) {
        do {
            try FileManager.default.removeItem(atPath: folder)
        } catch {
            guard let walker = FileManager.default.enumerator(atPath: folder) else { return }
            for case let name as String in walker { chmod("\(folder)/\(name)", 0o700) }
            try? FileManager.default.removeItem(atPath: folder)  // a leftover in the folder of temporary files
        }
    }
}
