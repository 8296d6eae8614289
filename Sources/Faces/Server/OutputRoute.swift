import API
import HTTPTypes
import Hummingbird
import Kernel
import Manifests
import NIOCore
import Pipelines

/// Output of jobs, as it is: the one thing runners send so much of that JSON would cost more than the work itself.
///
/// `PUT /api/v1/leases/RUN/output?stage=…&job=…&epoch=…&offset=…`, the bytes as the body.
struct OutputRoute: Sendable {
    let pipelines: PipelinesDomain
    private static let table = OperationTable([Runners.append.erased])

    static func isMeant(_ path: String) -> Bool { path.hasPrefix("/api/v1/leases/") && path.hasSuffix("/output") }

    func respond(to request: Request, path: String, call: Call) async throws -> Response {
        guard request.method == .put else {
            throw Problem(
                "method.not-allowed", status: 405, "\(request.method.rawValue) is not answered here",
                hint: "PUT appends a piece of output.")
        }
        let match = try Self.table.match(method: "PUT", path: path[...])
        let place = try OutputInput(
            json: try OperationTable.input(match, query: (request.uri.query ?? "")[...], body: nil), at: [])
        let bytes = try await HTTPFace.collect(request, limit: PipelineLimits.chunkBytes)
        return .json(try await pipelines.append(bytes, place, call).json)
    }
}
