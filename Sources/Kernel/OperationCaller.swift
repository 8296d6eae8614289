package import API
package import Manifests

/// Calls an operation inside the server, with the permissions of whoever asks: the door that the web UI, the pipelines'
/// server steps and every robot use, so that none can do what the API cannot.
package protocol OperationCaller: Sendable {
    func call<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ input: Input, as call: Call
    ) async throws -> Output
}

/// What each operation does: filled by the domains, frozen by the assembly.
package struct Routes: Sendable {
    package typealias Handler = @Sendable (JSONValue, Call) async throws -> JSONValue
    package private(set) var handlers: [String: Handler] = [:]
    fileprivate private(set) var listeners: [String: [@Sendable (JSONValue) -> Void]] = [:]
    /// Operations that answer without a token: only turning in the first one.
    package static let open: Set<String> = ["tokens.redeem"]

    package init() {}

    package mutating func on<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ handle: @escaping @Sendable (Input, Call) async throws -> Output
    ) {
        precondition(handlers[operation.name] == nil, "\(operation.name) has two handlers")
        handlers[operation.name] = { json, call in
            if !Self.open.contains(operation.name) {
                try call.allow(operation.permission, operation: operation.name)
            }
            if let project = json["project"]?.string
                ?? (Input.fields.contains { $0.name == "project" } ? "default" : nil),
                call.permission != .agent
            {
                try call.allow(project: project)
            }
            return try await handle(try Input(json: json, at: []), call).json
        }
    }

    /// Tells of each call of another domain's operation that went well. Nothing is waited for: return at once.
    package mutating func hear<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ listen: @escaping @Sendable (Input) -> Void
    ) {
        listeners[operation.name, default: []].append { json in
            if let input = try? Input(json: json, at: []) { listen(input) }  // the handler has read it already
        }
    }
}

/// Hands calls to the handlers of the domains.
package struct Switchboard: OperationCaller {
    private let handlers: [String: Routes.Handler]
    private let listeners: [String: [@Sendable (JSONValue) -> Void]]

    package init(_ routes: Routes) { (handlers, listeners) = (routes.handlers, routes.listeners) }

    package func call<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ input: Input, as call: Call
    ) async throws -> Output {
        try Output(json: try await self.call(operation.name, input.json, as: call), at: [])
    }

    package func call(_ operation: String, _ input: JSONValue, as call: Call) async throws -> JSONValue {
        guard let handler = handlers[operation] else {
            throw Problem(
                "operation.unknown", status: 404, "no operation \"\(operation)\"", hint: "See docs/openapi.json.")
        }
        let answer = try await handler(input, call)
        for listen in listeners[operation] ?? [] { listen(input) }
        return answer
    }

    package var operations: Set<String> { Set(handlers.keys) }
}

/// A caller that is given its switchboard after the domains that hold it were made: the one knot in the assembly.
package final class LateCaller: OperationCaller {
    private let switchboard = Late<Switchboard>()

    package init() {}
    package func connect(_ board: Switchboard) { switchboard.set(board) }
    /// Lets go of the operations, which hold whoever asks here: a circle that nobody else would break.
    package func disconnect() { switchboard.set(nil) }

    package func call<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ input: Input, as call: Call
    ) async throws -> Output {
        guard let board = switchboard.value else {
            throw Problem("starting", status: 503, "the server is still starting", hint: "Try again in a moment.")
        }
        return try await board.call(operation, input, as: call)
    }
}
