import API
import Foundation
import Kernel
import Manifests
import Outbound

/// Calls of Docker's REST API over a unix socket, as far as executions need them. Each may be repeated.
struct ContainerEngine: Sendable {
    private let socket: String
    private let base: String
    private let outbound: OutboundClient

    private static let patience: Duration = .seconds(60)
    /// How long fetching an image may take, and how long nothing may come of it.
    private static let pullPatience: Duration = .seconds(300)
    /// What is kept of the output of a container that is taken away.
    private static let (logLines, logBytes) = (20_000, 4 << 20)
    /// Longest life of an execution without a timeout of its own.
    private static let forever: Duration = .seconds(30 * 86_400)

    init(socket: String) {
        self.socket = socket
        let host = socket.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? socket
        base = "http+unix://\(host)"
        // Two connections are held for each running container.
        outbound = OutboundClient(
            configuration: OutboundConfiguration(allowsUnixSockets: true, connectionsPerHost: 1024))
    }

    // MARK: - Calls

    private func call(
        _ method: String, _ path: String, _ body: JSONValue? = nil, headers: [(String, String)] = [],
        deadline: Duration = patience
    ) async throws -> HTTPResponse {
        do throws(OutboundError) {
            return try await outbound.send(request(method, path, body, headers), deadline: deadline)
        } catch {
            throw failure(error)
        }
    }

    private func request(
        _ method: String, _ path: String, _ body: JSONValue? = nil, _ headers: [(String, String)] = []
    ) -> HTTPRequest {
        guard let body else { return HTTPRequest(method, url: base + path, headers: headers) }
        return HTTPRequest(
            method, url: base + path, headers: headers + [("Content-Type", "application/json")],
            body: .bytes(body.bytes))
    }

    private func failure(_ error: OutboundError) -> ExecutionFailure {
        if error.code == .cancelled { return .cancelled }
        return ExecutionFailure(
            .unavailable, "podman does not answer at \(socket): \(error.message)",
            hint: "Start it: podman system service --time 0 unix://\(socket)")
    }

    /// What the engine said when it refused.
    private func refusal(_ what: String, _ response: HTTPResponse, isOrder: Bool = false) -> ExecutionFailure {
        let told = (try? JSONParser.parse(response.body))?["message"]?.string  // no JSON: told as it is
        let reason = told ?? String(response.text.prefix(300))
        return ExecutionFailure(isOrder ? .invalid : .unavailable, "podman could not \(what): \(reason)")
    }

    private static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text
    }

    func answers() async -> Bool {
        do { return try await call("GET", "/_ping", deadline: .seconds(2)).isSuccess } catch { return false }
    }

    // MARK: - Images

    /// Has the image here, as its pull policy says.
    func provide(_ container: ContainerSpec) async throws {
        let image = container.image
        if container.pull != .always {
            let found = try await call("GET", "/images/\(image)/json")
            if found.isSuccess { return }
            guard found.status == 404 else { throw refusal("look for an image", found) }
            guard container.pull == .missing else {
                throw ExecutionFailure(
                    .invalid, "the image \"\(image)\" is not on this machine",
                    hint: "Fetch it first, or write `pull: missing`.")
            }
        }
        var headers: [(String, String)] = []
        if let login = container.credentials {
            let registry = image.split(separator: "/").first.map(String.init) ?? ""
            let json: JSONValue = [
                "username": .string(login.username), "password": .string(login.password),
                "serveraddress": .string(registry),
            ]
            headers = [("X-Registry-Auth", Data(json.bytes).base64EncodedString().urlSafe)]
        }
        var last: [UInt8] = []
        let request = request("POST", "/images/create?fromImage=\(Self.escaped(Self.tagged(image)))", nil, headers)
        let status = try await stream(request, idle: Self.pullPatience) { bytes in
            last = Array((last + bytes).suffix(8192))
        }
        let lines = String(decoding: last, as: UTF8.self).split { $0.isNewline }
        // The status is told before the fetching begins: an error comes as the last line.
        let error = lines.last.flatMap { try? JSONParser.parse(String($0)) }?["error"]?.string  // cut line: no error
        guard (200..<300).contains(status), error == nil else {
            throw ExecutionFailure(
                .invalid,
                "the image \"\(image)\" could not be fetched: \(error ?? String(decoding: last, as: UTF8.self))",
                hint: "Look at its name, and at `credentials` if its registry wants a login.")
        }
    }

    /// Without tag and digest the engine would fetch every tag.
    private static func tagged(_ image: String) -> String {
        let name = image.split(separator: "/").last ?? ""
        return name.contains(":") || name.contains("@") ? image : "\(image):latest"
    }

    // MARK: - Containers

    func create(_ name: String, _ spec: JSONValue) async throws {
        var response = try await call("POST", "/containers/create?name=\(name)", spec)
        if response.status == 409 {
            // Of an execution that nobody watches any more: whoever does is known to us.
            try await remove(name)
            response = try await call("POST", "/containers/create?name=\(name)", spec)
        }
        guard response.isSuccess else { throw refusal("create a container", response, isOrder: response.status < 500) }
    }

    func start(_ name: String) async throws {
        let response = try await call("POST", "/containers/\(name)/start")
        guard response.isSuccess || response.status == 304 else {
            throw refusal("start a container", response, isOrder: response.text.contains("not found"))
        }
    }

    /// Hands over output from now on until the container has ended.
    func attach(
        _ name: String, attached: @escaping @Sendable () -> Void,
        output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let request = request("POST", "/containers/\(name)/attach?stream=1&stdout=1&stderr=1")
        try await frames(request, "attach to a container", begun: attached, output: output)
    }

    private func frames(
        _ request: HTTPRequest, _ what: String, begun: @Sendable () -> Void,
        output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        var splitter = FrameSplitter()
        var status = 0
        var refused: [UInt8] = []
        do {
            try await outbound.stream(
                request, idleDeadline: Self.forever,
                head: { head in
                    status = head.status
                    if head.isSuccess || head.status == 101 { begun() }
                },
                onChunk: { bytes in
                    guard (200..<300).contains(status) else { return refused += bytes }
                    let payload = splitter.feed(bytes)
                    if !payload.isEmpty { try await output(payload) }
                })
        } catch let error as OutboundError {
            throw failure(error)
        }
        guard (200..<300).contains(status) else {
            let response = HTTPResponse(status: status, body: refused)
            throw refusal(what, response, isOrder: response.text.contains("not found"))
        }
    }

    @discardableResult
    private func stream(
        _ request: HTTPRequest, idle: Duration, _ onChunk: ([UInt8]) async throws -> Void
    ) async throws -> Int {
        do {
            return try await outbound.stream(request, headDeadline: idle, idleDeadline: idle, onChunk: onChunk)
        } catch let error as OutboundError {
            throw failure(error)
        }
    }

    /// Waits for the end; the exit code, or nil when that takes too long.
    func wait(_ name: String, atMost: Duration) async throws -> Int? {
        do throws(OutboundError) {
            let request = request("POST", "/containers/\(name)/wait")
            return try code(try await outbound.send(request, deadline: atMost))
        } catch {
            if error.code == .timedOut { return nil }
            throw failure(error)
        }
    }

    func wait(_ name: String) async throws -> Int {
        guard let code = try await wait(name, atMost: Self.forever) else {
            throw ExecutionFailure(.unavailable, "a container has not ended in 30 days")
        }
        return code
    }

    private func code(_ response: HTTPResponse) throws(OutboundError) -> Int {
        guard response.isSuccess, let json = try? JSONParser.parse(response.body),  // told just below
            let code = json["StatusCode"]?.int
        else { throw OutboundError(.broken, "no exit code: \(response.text.prefix(200))") }
        return code
    }

    func wasOutOfMemory(_ name: String) async throws -> Bool {
        let response = try await call("GET", "/containers/\(name)/json")
        let json = try? JSONParser.parse(response.body)  // told as no
        return json?["State"]?["OOMKilled"]?.bool ?? false
    }

    /// Asks it to end, kills it after the grace, takes it away. Never fails: what could not be ended is left to `clear`.
    func end(_ name: String, grace: Duration) async {
        do {
            if grace > .zero {
                _ = try await call("POST", "/containers/\(name)/kill?signal=SIGTERM")
                _ = try await wait(name, atMost: grace)
            }
            try await remove(name)
        } catch {
            // The engine is gone, or goes: its containers end with the next `clear`.
        }
    }

    func remove(_ name: String) async throws {
        let response = try await call("DELETE", "/containers/\(name)?force=1&v=1")
        guard response.isSuccess || response.status == 404 || response.status == 409 else {
            throw refusal("remove a container", response)
        }
    }

    /// Runs a command in a running container; its exit code.
    func execute(
        _ command: [String], in name: String, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> Int {
        let spec: JSONValue = [
            "Cmd": .array(command.map(JSONValue.string)), "AttachStdout": .bool(true), "AttachStderr": .bool(true),
        ]
        let made = try await call("POST", "/containers/\(name)/exec", spec)
        guard made.isSuccess, let id = try JSONParser.parse(made.body)["Id"]?.string else {
            throw refusal("execute in a container", made)
        }
        let start = request("POST", "/exec/\(id)/start", ["Detach": .bool(false), "Tty": .bool(false)])
        try await frames(start, "execute in a container", begun: {}, output: output)
        let ended = try await call("GET", "/exec/\(id)/json")
        guard let code = try JSONParser.parse(ended.body)["ExitCode"]?.int else {
            throw refusal("execute in a container", ended)
        }
        return code
    }

    // MARK: - Copies of services

    /// A container as it is looked at.
    struct Found: Sendable {
        var labels: JSONValue
        var status: String

        var isRunning: Bool { ["running", "paused", "restarting", "stopping"].contains(status) }
        /// It is more than made: it runs, or has ended.
        var hasRun: Bool { !["created", "configured", "initialized"].contains(status) }
    }

    /// Nil when there is no container of that name.
    func inspect(_ name: String) async throws -> Found? {
        let response = try await call("GET", "/containers/\(name)/json")
        if response.status == 404 { return nil }
        guard response.isSuccess else { throw refusal("look at a container", response) }
        let json = try JSONParser.parse(response.body)
        return Found(labels: json["Config"]?["Labels"] ?? [:], status: json["State"]?["Status"]?.string ?? "")
    }

    /// Containers with a label, whatever their state.
    func list(_ label: String) async throws -> [Found] {
        let filter: JSONValue = ["label": .array([.string(label)])]
        let response = try await call("GET", "/containers/json?all=1&filters=\(Self.escaped(filter.text))")
        guard response.isSuccess else { throw refusal("list containers", response) }
        return (try JSONParser.parse(response.body).array ?? []).map {
            Found(labels: $0["Labels"] ?? [:], status: $0["State"]?.string ?? "")
        }
    }

    /// Sends the signal that the image names, SIGTERM if none, and SIGKILL after the grace; returns when it has ended.
    func stop(_ name: String, grace: Duration) async throws {
        let seconds = Int((grace / .seconds(1)).rounded(.up))
        let response = try await call(
            "POST", "/containers/\(name)/stop?t=\(seconds)", deadline: grace + Self.patience)
        guard response.isSuccess || response.status == 304 || response.status == 404 else {
            throw refusal("stop a container", response)
        }
    }

    /// The last lines that it has written; what was read of them when the engine cannot tell all.
    func log(of name: String) async -> [UInt8] {
        let tail = Tail(limit: Self.logBytes)
        let request = request("GET", "/containers/\(name)/logs?stdout=1&stderr=1&tail=\(Self.logLines)")
        // Not worth a container that stays: what could not be read is lost.
        try? await frames(request, "read the log of a container", begun: {}) { tail.add($0) }  // see above
        return tail.bytes
    }

    /// Whether a command in a running container ends with 0 in time; it is killed when it does not.
    func ask(_ command: [String], in name: String, atMost: Duration) async throws -> Bool {
        let mark = "VAGUS_PROBE_MARK=\(UUID().uuidString)"
        let spec: JSONValue = [
            "Cmd": .array(command.map(JSONValue.string)), "AttachStdout": .bool(true), "AttachStderr": .bool(true),
            "Env": [.string(mark)],
        ]
        let made = try await call("POST", "/containers/\(name)/exec", spec)
        guard made.isSuccess, let id = try JSONParser.parse(made.body)["Id"]?.string else {
            throw refusal("execute in a container", made)
        }
        do {
            let begin: JSONValue = ["Detach": .bool(false), "Tty": .bool(false)]
            _ = try await call("POST", "/exec/\(id)/start", begin, deadline: atMost)
        } catch {
            // The API knows no way to end it; the engine is on this machine, so its processes are to be seen here.
            await Straggler.kill(carrying: mark)
            throw error
        }
        let ended = try await call("GET", "/exec/\(id)/json")
        return try JSONParser.parse(ended.body)["ExitCode"]?.int == 0
    }

    // MARK: - Networks and leftovers

    func makeNetwork(_ name: String, isInternal: Bool, labels: JSONValue) async throws {
        let spec: JSONValue = [
            "Name": .string(name), "Internal": .bool(isInternal), "Labels": labels, "CheckDuplicate": .bool(true),
        ]
        let response = try await call("POST", "/networks/create", spec)
        // Another execution of the job was first.
        guard response.isSuccess || response.status == 409 || response.text.contains("already") else {
            throw refusal("make a network", response)
        }
    }

    /// Ends and removes the containers, then the networks, that carry a label; what fails is tried at the next call.
    func removeAll(_ label: String) async {
        let filter: JSONValue = ["label": .array([.string(label)])]
        let query = Self.escaped(filter.text)
        do {
            let containers = try await call("GET", "/containers/json?all=1&filters=\(query)")
            for found in try JSONParser.parse(containers.body).array ?? [] {
                if let id = found["Id"]?.string { try await remove(id) }
            }
            let networks = try await call("GET", "/networks?filters=\(query)")
            for found in try JSONParser.parse(networks.body).array ?? [] {
                if let name = found["Name"]?.string { _ = try await call("DELETE", "/networks/\(name)") }
            }
        } catch {
            // The engine is not there: then neither are the containers, or the next call finds them.
        }
    }
}

extension String {
    /// Base64 for headers and URLs (RFC 4648 §5).
    fileprivate var urlSafe: String { replacing("+", with: "-").replacing("/", with: "_") }
}
