import API
import Foundation
import Glibc
import Kernel
import Logging
import Manifests
import Synchronization
import Testing

@testable import Server

/// A server with a runner and a proxy in it, for as long as `body` runs.
///
/// It is then stopped as servers are stopped. A plain cancellation could strike between the accepting of a connection and its
/// handling, which SwiftNIO takes for a programmer's mistake.
func withOpenHouse<T: Sendable>(_ body: @escaping @Sendable (House) async throws -> T) async throws -> T {
    let folder = NSTemporaryDirectory() + "vagus-scenario-\(UUID().uuidString)"
    defer {
        endCopies(in: folder)
        try? FileManager.default.removeItem(atPath: folder)  // a leftover folder harms no other test
    }
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    var options = ServerOptions(data: folder, executable: "/bin/false") { _ in }
    (options.port, options.hasAuth, options.proxy) = (0, false, ("127.0.0.1", 0))
    let house = try await House(options, logger: logger)
    let outcome = Mutex<T?>(nil)
    try await house.run { _ in
        let result = try await body(house)
        outcome.withLock { $0 = result }
    }
    return try #require(outcome.withLock { $0 })
}

/// Copies of services outlive the server; each works in a folder of the server's data.
private func endCopies(in folder: String) {
    let files = FileManager.default
    for name in (try? files.contentsOfDirectory(atPath: "/proc")) ?? [] {  // no /proc: nothing to be seen
        guard let pid = Int32(name), let place = try? files.destinationOfSymbolicLink(atPath: "/proc/\(name)/cwd"),  // gone
            place.hasPrefix(folder + "/")
        else { continue }
        kill(pid, SIGKILL)
    }
}

/// What scenarios do with a house, as its operator does.
extension House {
    func ask<Input: Manifest, Output: Manifest>(
        _ operation: API.Operation<Input, Output>, _ input: Input
    ) async throws -> Output {
        try await switchboard.call(operation, input, as: .system("test"))
    }

    func apply(_ text: String) async throws {
        var input = ApplyInput()
        input.documents = try YAML.documents(text, file: "test.yaml").map(\.value)
        _ = try await ask(Resources.apply, input)
    }

    func start(_ pipeline: String = "p", _ parameters: Ordered<JSONValue> = [:]) async throws -> Run {
        var input = RunInput()
        (input.pipeline, input.parameters) = (pipeline, parameters)
        return try await ask(Runs.start, input)
    }

    /// The run as soon as it is as wanted; most of the time, when it has ended. Gives up after 60 s.
    func wait(for run: Run, until isWanted: (Run) -> Bool = { $0.status.hasEnded }) async throws -> Run {
        let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(60)))
        while true {
            let now = try await ask(Runs.get, RunName(project: "default", run: run.id))
            if isWanted(now) { return now }
            try #require(time.now < end, "the run does not come to it: \(now.json.text)")
            try await time.sleep(for: .milliseconds(20))
        }
    }
}
