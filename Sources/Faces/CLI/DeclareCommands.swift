import API
import ArgumentParser
import Client
import Foundation
import Kernel
import Manifests

struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Makes what manifests ask for so.",
        discussion:
            "Examples:\n  vagus apply -f service.yaml\n  vagus apply -f ./manifests --dry-run\n  cat all.yaml | vagus apply -f -\n\nAll documents are taken in one transaction, or none."
    )
    @OptionGroup var connection: Connection
    @Option(
        name: [.customShort("f"), .long], help: "File or folder of manifests, or - for standard input; may be repeated."
    )
    var file: [String]
    @Flag(help: "Only tells what would change.") var dryRun = false

    func run() async throws {
        let documents = try ManifestFiles.read(file)
        guard !documents.isEmpty else { throw ValidationError("no manifests in \(file.joined(separator: ", "))") }
        // The same decoder as the server's: what is wrong is told with line and column, and nothing is sent.
        for document in documents {
            do {
                _ = try CoreDomain.read(document.value, project: connection.projectName)
            } catch {
                throw document.placing(error)
            }
        }
        var input = ApplyInput()
        input.documents = documents.map(\.value)
        input.project = connection.projectName
        input.dry_run = dryRun
        let sent = input
        let outcome = try await connection.connected { try await $0.call(Resources.apply, sent) }
        connection.show(outcome) {
            outcome.items.map { item in
                let change =
                    dryRun && item.change != .unchanged ? "would be \(item.change.rawValue)" : item.change.rawValue
                return "\(item.kind.lowercased()) \(item.name) \(change)\n"
                    + item.difference.map { "    \($0)\n" }.joined()
            }.joined()
        }
    }
}

/// Manifests from files, folders and standard input.
enum ManifestFiles {
    static func read(_ places: [String]) throws -> [YAMLDocument] {
        try places.flatMap { place -> [YAMLDocument] in
            if place == "-" {
                let data = FileHandle.standardInput.readDataToEndOfFile()
                return try YAML.documents(String(decoding: data, as: UTF8.self), file: "standard input")
            }
            return try files(in: place).flatMap { try YAML.documents(try text($0), file: $0) }
        }
    }

    private static func files(in place: String) throws -> [String] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: place, isDirectory: &isFolder) else {
            throw Problem(
                "file.not-found", status: 404, "no file or folder \"\(place)\"", hint: "Check the path after -f.")
        }
        guard isFolder.boolValue else { return [place] }
        return try FileManager.default.subpathsOfDirectory(atPath: place)
            .filter { ["yaml", "yml", "json"].contains(($0 as NSString).pathExtension) }.sorted().map {
                "\(place)/\($0)"
            }
    }

    private static func text(_ path: String) throws -> String {
        do {
            return try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw Problem(
                "file.unreadable", status: 500, "could not read \"\(path)\"",
                hint: "It must be UTF-8 text that you may read.")
        }
    }
}

struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Lists the things of one kind, or shows one.",
        discussion: "Examples:\n  vagus get services\n  vagus get pipeline train -o yaml")
    @OptionGroup var connection: Connection
    @Argument(help: "Kind: pipelines, services, datasets, …") var kind: String
    @Argument(help: "Name; absent: all.") var name: String?
    @Option(name: [.customShort("l"), .long], help: "Only things with these labels: team=ml,tier=gold.") var labels:
        String?

    func run() async throws {
        let plural = try Kinds.named(kind).plural
        if let name {
            let resource = try await connection.connected {
                try await $0.call(
                    Resources.get, ResourceName(project: connection.projectName, kind: plural, name: name))
            }
            switch connection.output {
            case .json: Terminal.line(resource.json.prettyText)
            case .table, .yaml: Terminal.out(resource.manifest.yaml)
            }
            return
        }
        var query = ResourceQuery()
        (query.project, query.kind, query.labels) = (connection.projectName, plural, labels)
        let sent = query
        let list = try await connection.connected { try await $0.call(Resources.list, sent) }
        connection.show(list) {
            guard !list.items.isEmpty else { return "no \(plural) in project \"\(connection.projectName)\"\n" }
            var table = Table(["NAME", "GENERATION", "CHANGED", "LABELS"])
            table.rows = list.items.map { item in
                [
                    item.name, "\(item.generation)", Words.ago(item.updated_at),
                    item.labels.map { "\($0.key)=\($0.value)" }.joined(separator: ","),
                ]
            }
            return table.text
        }
    }
}

struct DescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Shows one thing whole: what is wanted, what is, and what happened.",
        discussion: "Example:\n  vagus describe service shop-api")
    @OptionGroup var connection: Connection
    @Argument var kind: String
    @Argument var name: String

    func run() async throws {
        let type = try Kinds.named(kind)
        try await connection.connected { client in
            let resource = try await client.call(
                Resources.get, ResourceName(project: connection.projectName, kind: type.plural, name: name))
            if connection.output != .table {
                connection.show(resource) { "" }
                return
            }
            var query = EventQuery()
            (query.kind, query.subject, query.project, query.limit) = (type.name, name, connection.projectName, 15)
            let events = try await client.call(Events.list, query)
            Terminal.out(resource.manifest.yaml)
            if let status = resource.status { Terminal.out("\nstatus:\n" + indented(status.yaml)) }
            for condition in resource.conditions {
                Terminal.line(
                    "\n\(condition.name): \(condition.truth.rawValue) (\(condition.reason)) \(condition.message)")
            }
            Terminal.line("\nevents:")
            for event in events.items { Terminal.line("  " + EventLine.text(event)) }
        }
    }

    private func indented(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? "" : "  \($0)" }.joined(
            separator: "\n")
    }
}

/// One event in one line.
enum EventLine {
    static func text(_ event: Event) -> String {
        let data = event.data.isEmpty ? "" : "  " + Terminal.styled(event.data.json.text, .dim)
        return
            "\(event.sequence)  \(event.at)  \(event.name)  \(event.subject.kind) \(event.subject.name)  \(event.actor)\(data)"
    }
}

struct DeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Removes one thing; what runs for it is stopped.",
        discussion: "Example:\n  vagus delete service shop-api")
    @OptionGroup var connection: Connection
    @Argument var kind: String
    @Argument var name: String

    func run() async throws {
        let type = try Kinds.named(kind)
        let gone = try await connection.connected {
            try await $0.call(
                Resources.delete, ResourceName(project: connection.projectName, kind: type.plural, name: name))
        }
        connection.show(gone) { "\(type.name.lowercased()) \(name) deleted\n" }
    }
}

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Tells what happens, as it happens, until interrupted.",
        discussion: "Examples:\n  vagus watch\n  vagus watch services shop-api -o json")
    @OptionGroup var connection: Connection
    @Argument(help: "Only things of this kind.") var kind: String?
    @Argument(help: "Only the thing of this name.") var name: String?
    @Option(help: "Begin after this sequence number; absent: now.") var after: Int64?

    func run() async throws {
        let type = try kind.map { try Kinds.named($0).name }
        try await connection.connected { client in
            var start = after ?? 0
            if after == nil { start = try await client.call(API.Server.info, Nothing()).events }
            try await client.events(after: start) { event in
                if let type, event.subject.kind != type { return true }
                if let name, event.subject.name != name { return true }
                switch connection.output {
                case .table: Terminal.line(EventLine.text(event))
                case .json: Terminal.line(event.json.text)
                case .yaml: Terminal.out("---\n" + event.json.yaml)
                }
                return true
            }
        }
    }
}

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tells what a kind or one of its fields is for.",
        discussion:
            "Examples:\n  vagus explain service\n  vagus explain service.rollout.steps\n  vagus explain systems")
    @Argument(help: "KIND, or KIND.field.field, or systems: what was asked for and where it is.") var path: String

    func run() throws {
        if path == "systems" { return Terminal.out(Systems.text) }
        let parts = path.split(separator: ".").map(String.init)
        let kind = try Kinds.named(parts.first ?? "")
        Terminal.out(try Explanation.text(kind, path: Array(parts.dropFirst())))
    }
}

struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Prints a kind's JSON Schema, for editors.",
        discussion: "Example:\n  vagus schema pipeline > pipeline.schema.json")
    @Argument var kind: String
    func run() throws { Terminal.line(KindSchema.json(try Kinds.named(kind)).prettyText) }
}
