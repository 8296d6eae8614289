import API
import ArgumentParser
import Client
import Foundation
import Manifests
import Outbound

/// How an answer is written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case table, json, yaml }

/// What every client command takes.
struct Connection: ParsableArguments {
    @Option(help: "Server to ask; also VAGUS_SERVER. (default: http://127.0.0.1:8420)")
    var server: String?
    @Option(help: "Access token; also VAGUS_TOKEN.")
    var token: String?
    @Option(help: "Project to work in; also VAGUS_PROJECT.")
    var project: String?
    @Option(name: [.customShort("o"), .long], help: "table, json or yaml.")
    var output = OutputFormat.table

    var projectName: String { project ?? Self.setting("VAGUS_PROJECT") ?? "default" }

    /// The client, for as long as `body` runs.
    func connected<T>(_ body: (VagusClient) async throws -> T) async throws -> T {
        let outbound = OutboundClient()
        let client = VagusClient(
            server: server ?? Self.setting("VAGUS_SERVER") ?? "http://127.0.0.1:8420",
            token: token ?? Self.setting("VAGUS_TOKEN"), outbound: outbound)
        do {
            let result = try await body(client)
            await outbound.shutdown()
            return result
        } catch {
            await outbound.shutdown()
            throw error
        }
    }

    static func setting(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Writes an answer in the form that was asked for.
    func show(_ value: some Manifest, table: () -> String) {
        switch output {
        case .table: Terminal.out(table())
        case .json: Terminal.line(value.json.prettyText)
        case .yaml: Terminal.out(value.json.yaml)
        }
    }
}

/// Moments and lengths of time as people say them.
enum Words {
    static func now() -> Timestamp {
        Timestamp(microseconds: Int64(Date.now.timeIntervalSince1970 * 1e6))
    }

    static func ago(_ time: Timestamp?) -> String {
        guard let time, time != .zero else { return "-" }
        return length(now().since(time)) + " ago"
    }

    static func length(_ duration: Duration) -> String {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
        return length(seconds: max(0, seconds))
    }

    static func length(seconds: Double) -> String {
        switch seconds {
        case ..<1: "\(Int(seconds * 1000))ms"
        case ..<60: "\((seconds * 10).rounded() / 10)s"
        case ..<3600: "\(Int(seconds) / 60)m\(Int(seconds) % 60)s"
        case ..<86400: "\(Int(seconds) / 3600)h\(Int(seconds) / 60 % 60)m"
        default: "\(Int(seconds) / 86400)d\(Int(seconds) / 3600 % 24)h"
        }
    }

    static func between(_ start: Timestamp?, _ end: Timestamp?) -> String {
        guard let start else { return "-" }
        return length((end ?? now()).since(start))
    }

    static func status(_ status: RunStatus) -> String {
        let (mark, style): (String, Terminal.Style) =
            switch status {
            case .succeeded: ("✓", .green)
            case .failed: ("✗", .red)
            case .running: ("●", .blue)
            case .waiting: ("◐", .yellow)
            case .queued: ("○", .dim)
            case .cancelled, .superseded: ("⊘", .yellow)
            case .skipped: ("–", .dim)
            }
        return Terminal.styled("\(mark) \(status.rawValue)", style)
    }

    static func size(_ bytes: Int64) -> String {
        switch bytes {
        case ..<1024: "\(bytes) B"
        case ..<(1 << 20): "\((Double(bytes) / 102.4).rounded() / 10) KiB"
        case ..<(1 << 30): "\((Double(bytes) / 104_857.6).rounded() / 10) MiB"
        default: "\((Double(bytes) / 107_374_182.4).rounded() / 10) GiB"
        }
    }
}
