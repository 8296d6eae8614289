import API
import Kernel
import Logging
import Manifests

/// MLflow's REST API below `/mlflow`, as its unmodified clients call it.
///
/// Set `MLFLOW_TRACKING_URI=http://HOST:8420/mlflow`, and a token as `MLFLOW_TRACKING_TOKEN`.
struct MLflowMount: Sendable {
    static let prefix = "/mlflow"
    /// The version of MLflow whose API this is: its clients choose by it what they ask.
    static let version = "3.17.2"
    /// Bytes of a JSON body: MLflow's own limit for a batch is 1 MB, its traces may be larger.
    static let bodyLimit = 32 << 20

    let routes: MLflowRoutes
    let logger: Logger

    /// - Parameter lists: Each part of the room appends its list of calls.
    init(_ lists: [[MLflowRoute]], logger: Logger) {
        routes = MLflowRoutes(lists.flatMap { $0 } + Self.own)
        self.logger = logger
    }

    /// What tells that somebody is there, and who.
    private static let own: [MLflowRoute] = [
        MLflowRoute("GET", "/health") { _, _ in
            .foreign(ForeignAnswer(type: "text/html; charset=utf-8", .bytes(Array("OK".utf8))))
        },
        MLflowRoute("GET", "/version") { _, _ in
            .foreign(ForeignAnswer(type: "text/html; charset=utf-8", .bytes(Array(version.utf8))))
        },
        MLflowRoute("GET", "/api/3.0/mlflow/server-info") { _, _ in
            .json([
                "store_type": "SqlStore", "workspaces_enabled": false, "trace_archival_enabled": false,
                "multipart_uploads_enabled": true, "multipart_downloads_enabled": false,
            ])
        },
    ]

    var mount: Mount {
        Mount(
            Self.prefix, bodyLimit: Self.bodyLimit, open: ["/health", "/version"], signed: ArtifactCalls.parts,
            streams: ArtifactCalls.streams
        ) { problem, _ in
            MLflowError(problem).answer
        } handle: { request, call in
            do {
                return try await answer(request, call)
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                let told = MLflowError(error)
                if told.code == .internal {
                    logger.error("mlflow request failed", metadata: ["path": "\(request.path)", "error": "\(error)"])
                }
                return told.answer
            }
        }
    }

    private func answer(_ request: ForeignRequest, _ call: Call) async throws -> ForeignAnswer {
        guard let (route, path) = routes.match(method: request.method, path: request.path) else {
            throw MLflowError(.endpointNotFound, "Not Found")
        }
        let input = MLflowInput(request, path: path)
        if call.permission != .agent { try call.allow(route.needs, operation: "\(route.method) \(route.path)") }
        try call.allow(project: input.project)
        return try await route.handle(input, call).foreign
    }
}
