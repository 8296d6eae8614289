package import API
import Foundation
import Glibc
package import Kernel
import Outbound
import Processes
import Proxy
import Stats

/// nginx 1.18 and later: your `http` section says `include FOLDER/vagus.conf;`.
///
/// A change is a reload (SIGHUP), after `nginx -t` has found the file sound: new workers take over, old ones end their
/// requests and close the connections that clients keep open, so a client may find its idle connection closed. It is over
/// when our status socket, a part of the same file, tells the new version and no worker of before takes connections (each
/// names itself "shutting down" from then on). Counts and latencies
/// come from an access log of our own, read twice a second and started anew when it is long.
package actor NginxRouter: TrafficRouter {
    /// Where an nginx is reached.
    package struct Settings: Sendable {
        /// Folder for our files; read and written by nginx.
        package var folder: String
        /// Address that services are reached at, as in `listen`.
        package var bind: String
        /// File with the master's process id.
        package var pidFile: String
        /// Command that checks the whole configuration: `nginx -t -c …`; empty: not checked.
        package var check: [String]

        package init(folder: String, bind: String, pidFile: String, check: [String] = ["/usr/sbin/nginx", "-t"]) {
            (self.folder, self.bind, self.pidFile, self.check) = (folder, bind, pidFile, check)
        }
    }

    package nonisolated let traits: RouterTraits = [.exactWeights, .latency, .counts]
    private let settings: Settings
    private let folder: RouterFolder
    private let time: any TimeSource
    private let outbound = OutboundClient(configuration: OutboundConfiguration(allowsUnixSockets: true))
    private let epoch: String
    private var version = 0
    private var text = ""
    /// Revisions by service and address: those of this table and of those before.
    private var revisions: [String: Int] = [:]
    private var running = RunningCounts()
    private var logOffset: UInt64 = 0

    /// - Throws: When the folder cannot be made.
    package init(_ settings: Settings, time: any TimeSource = SystemTime()) throws {
        self.settings = settings
        self.time = time
        folder = try RouterFolder(settings.folder)
        epoch = "nginx-\(time.now.microseconds)"
        // What an earlier life has counted is its own.
        try? FileManager.default.removeItem(atPath: folder.file(Self.log))  // there may be none
        if folder.read(Self.file) == nil {
            try folder.write(NginxConfiguration(.empty, settings, version: "0").text, to: Self.file)
        }
    }

    package func take(_ table: RoutingTable) async throws {
        let routes = try table.routes(for: .nginx, traits)
        let plain = NginxConfiguration(routes, settings, version: "").text
        guard plain != text else { return }
        let master = try processID(in: settings.pidFile)
        let (name, before) = ("\(epoch)-\(version + 1)", folder.read(Self.file))
        try folder.write(NginxConfiguration(routes, settings, version: name).text, to: Self.file)
        do {
            try await check()
        } catch {
            if let before { try folder.write(before, to: Self.file) }
            throw error
        }
        note(routes)
        let workers = ProcessEntry.children(of: master)
        kill(master, SIGHUP)
        let isDone = try await waitUntil(time, Self.patience) {
            guard await self.tells(name) else { return false }
            return workers.allSatisfy { $0.title?.contains("shutting down") ?? true }
        }
        guard isDone else {
            if let before { try folder.write(before, to: Self.file) }
            throw Self.problem("nginx did not take up the new configuration")
        }
        (version, text) = (version + 1, plain)
    }

    package func counts() async throws -> RouterCounts {
        try readLog()
        return RouterCounts(epoch: epoch, revisions: running.counts)
    }

    private func note(_ table: RouteTable) {
        for route in table.routes {
            for revision in route.revisions {
                guard let number = Int(revision.revision) else { continue }
                for endpoint in revision.endpoints {
                    revisions["\(route.service)|\(endpoint.host):\(endpoint.port)"] = number
                }
            }
        }
    }

    private func check() async throws {
        guard let program = settings.check.first else { return }
        let output = Output()
        let command = Command(
            executable: program, arguments: Array(settings.check.dropFirst()), environment: [:], directory: "/",
            isContained: false)
        let outcome = try await Processes.run(command, timeout: Self.patience) { await output.add($0.bytes) }
        guard outcome.isSuccess else {
            throw Self.problem("nginx finds the configuration wrong: \(await output.text.suffix(300))")
        }
    }

    private func tells(_ name: String) async -> Bool {
        let socket = folder.file("status.sock").replacing("/", with: "%2F")
        let answer = try? await outbound.send(HTTPRequest(url: "http+unix://\(socket)/"), deadline: .seconds(1))
        return answer?.text == name  // no answer yet is no answer
    }

    /// Lines of the counting log since the last look: `service|addresses|statuses|status|seconds`.
    private func readLog() throws {
        guard let file = FileHandle(forReadingAtPath: folder.file(Self.log)) else { return }
        defer { try? file.close() }  // nothing was written
        try file.seek(toOffset: logOffset)
        while let data = try file.read(upToCount: Self.piece), !data.isEmpty {
            guard let end = data.lastIndex(of: 0x0A) else { break }
            let whole = data[...end]
            logOffset += UInt64(whole.count)
            try file.seek(toOffset: logOffset)
            for line in String(decoding: whole, as: UTF8.self).split(separator: "\n") { count(line) }
        }
        if logOffset > Self.longLog {
            // nginx opens its log anew; what it writes until then is the last that is read here.
            unlink(folder.file(Self.log))
            kill(try processID(in: settings.pidFile), SIGUSR1)
            logOffset = 0
        }
    }

    private func count(_ line: Substring) {
        let parts = line.split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 5, let last = parts[1].split(separator: ",").last else { return }
        let address = last.drop { $0 == " " }
        guard let revision = revisions["\(parts[0])|\(address)"] else { return }
        let isError = parts[3].hasPrefix("5")
        let microseconds = UInt64(max(0, min(1e9, Double(parts[4]) ?? 0)) * 1e6)
        running.add(
            requests: 1, errors: isError ? 1 : 0, service: String(parts[0]), revision: revision,
            bucket: LatencyHistogram.bucket(of: microseconds))
    }

    private static func problem(_ message: String) -> Problem {
        Problem("router.unreachable", status: 503, message, hint: "See nginx's error log.")
    }

    private static let file = "vagus.conf"
    private static let log = "counts.log"
    private static let patience = Duration.seconds(10)
    private static let piece = 1 << 20
    private static let longLog: UInt64 = 64 << 20

    private actor Output {
        private var bytes: [UInt8] = []
        func add(_ more: [UInt8]) { if bytes.count < 64_000 { bytes += more } }
        var text: String { String(decoding: bytes, as: UTF8.self) }
    }
}
