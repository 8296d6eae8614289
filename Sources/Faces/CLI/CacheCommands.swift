import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct CachesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caches", abstract: "Lists caches of jobs, or deletes some.",
        discussion: "Examples:\n  vagus caches\n  vagus caches --prefix deps-\n  vagus caches delete --prefix deps-",
        subcommands: [CachesListCommand.self, CachesDeleteCommand.self], defaultSubcommand: CachesListCommand.self)
}

struct CachesListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists caches, last used first.")
    @OptionGroup var connection: Connection
    @Option(help: "Only keys that begin so.") var prefix: String?
    @Option(help: "Only this scope: ref:refs/heads/main, pr:7.") var scope: String?

    func run() async throws {
        var query = CacheListQuery()
        (query.project, query.prefix, query.scope) = (connection.projectName, prefix, scope)
        let sent = query
        let list = try await connection.connected { try await $0.call(Caches.list, sent) }
        connection.show(list) {
            guard !list.items.isEmpty else { return "no caches yet; a job keeps them with `cache:`\n" }
            var table = Table(["KEY", "SCOPE", "REPOSITORY", "SIZE", "MADE", "USED", "ID"])
            table.rows = list.items.map {
                [
                    $0.key, $0.scope, $0.repository.isEmpty ? "-" : $0.repository, Words.size($0.size_bytes),
                    Words.ago($0.created_at), Words.ago($0.used_at), $0.id,
                ]
            }
            return table.text
        }
    }
}

struct CachesDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Forgets one cache by its id, or all whose key begins with a prefix.",
        discussion: "Examples:\n  vagus caches delete cache_01…\n  vagus caches delete --prefix deps-")
    @OptionGroup var connection: Connection
    @Argument var id: String?
    @Option(help: "All whose key begins so.") var prefix: String?

    func run() async throws {
        guard (id == nil) != (prefix == nil) else { throw ValidationError("Give an id, or --prefix.") }
        var name = CacheName()
        (name.project, name.id, name.prefix) = (connection.projectName, id, prefix)
        let sent = name
        let deleted = try await connection.connected { try await $0.call(Caches.delete, sent) }
        connection.show(deleted) {
            "\(deleted.count) cache\(deleted.count == 1 ? "" : "s") deleted, \(Words.size(deleted.size_bytes))\n"
        }
    }
}

struct SweepCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep", abstract: "Tells which stored content nothing names any more, and deletes it.",
        discussion: "Examples:\n  vagus sweep\n  vagus sweep --delete\n\nThe server does this by itself every hour.")
    @OptionGroup var connection: Connection
    @Flag(help: "Deletes it; else it is only told.") var delete = false

    func run() async throws {
        var input = SweepInput()
        input.dry_run = !delete
        let sent = input
        let outcome = try await connection.connected { try await $0.call(Storage.sweep, sent) }
        connection.show(outcome) {
            let verb = outcome.dry_run ? "would be deleted" : "deleted"
            return "\(outcome.deleted) blobs \(verb), \(Words.size(outcome.deleted_bytes)); "
                + "\(outcome.held) kept, \(Words.size(outcome.held_bytes)); \(outcome.young) too young to tell\n"
        }
    }
}
