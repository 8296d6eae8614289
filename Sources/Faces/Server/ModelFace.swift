import API
import HTTPTypes
import Hummingbird
import Kernel
import Learners
package import Logging
package import Manifests
import NIOCore
import ServiceLifecycle
import Serving
import UnixSignals

/// `vagus serve`: one model behind HTTP, a process of its own.
package struct ModelFace: Sendable {
    /// What is served and where.
    package struct Settings: Sendable {
        package var folder: String
        package var name: String
        package var version: String
        package var host: String
        package var port: Int
        package var xgboost: String?
        package var predictions: (folder: String, instance: String, sample: Double)?
        package var requests: RequestFiles?

        package init(folder: String, name: String, version: String, host: String, port: Int) {
            (self.folder, self.name, self.version, self.host, self.port) = (folder, name, version, host, port)
        }
    }

    /// Where requests are told one by one, and what they say of the copy that answered.
    package struct RequestFiles: Sendable {
        package var folder: String
        package var copy: String
        package var service: String
        package var revision: String
        package var instance: String
        package init(folder: String, copy: String, service: String, revision: String, instance: String) {
            (self.folder, self.copy, self.service) = (folder, copy, service)
            (self.revision, self.instance) = (revision, instance)
        }
    }

    /// Loads a model, scores rows if there are any, and tells what came of it.
    ///
    /// - Parameter rows: A body of MLflow's scoring protocol.
    package static func check(_ settings: Settings, rows: [UInt8]?) throws -> JSONValue {
        let started = SystemTime().now
        let server = try load(settings, log: nil)
        var told: Ordered<JSONValue> = ["loads": true]
        if let rows {
            let answer = server.answer(
                method: "POST", path: "/invocations", contentType: "application/json", body: rows)
            let json = try JSONParser.parse(answer.body)
            if answer.status == 200 {
                told["rows"] = .integer(Int64(json["predictions"]?.array?.count ?? 0))
            } else {
                told = [
                    "loads": false, "reason": .string("its rows cannot be scored: \(json["message"]?.string ?? "")"),
                ]
            }
        }
        told["milliseconds"] = .integer(Int64(SystemTime().now.since(started) / .milliseconds(1)))
        return .object(told)
    }

    private static func load(_ settings: Settings, log: PredictionLog?) throws -> ModelServer {
        let time = SystemTime()
        do {
            return try ModelServer(
                folder: settings.folder, name: settings.name, version: settings.version, xgboost: settings.xgboost,
                log: log, now: { time.now.microseconds })
        } catch {
            throw Problem("model.\(error.code.rawValue)", status: 500, error.message, hint: error.hint)
        }
    }

    /// Serves until told to stop.
    package static func run(_ settings: Settings, logger: Logger, tell: @escaping @Sendable (Int) -> Void) async throws
    {
        let time = SystemTime()
        let log = try settings.predictions.map {
            try PredictionLog(
                folder: $0.folder, instance: $0.instance, sample: $0.sample, seed: UInt64(time.now.microseconds))
        }
        let server = try load(settings, log: log)
        let spool = try settings.requests.map {
            try RequestSpool(
                folder: $0.folder, name: $0.copy,
                teller: .init(
                    service: $0.service, revision: $0.revision, instance: $0.instance, model: settings.name,
                    version: settings.version))
        }
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let application = Application(
            responder: Responder(server: server, spool: spool, now: { time.now.microseconds }),
            configuration: .init(address: .hostname(settings.host, port: settings.port), serverName: nil),
            onServerRunning: { tell($0.localAddress?.port ?? settings.port) }, logger: quiet)
        try await application.runService()
        log?.close()
        spool?.close()
    }

    private struct Responder: HTTPResponder {
        typealias Context = BasicRequestContext
        let server: ModelServer
        let spool: RequestSpool?
        let now: @Sendable () -> Int64

        func respond(to request: Request, context: Context) async throws -> Response {
            let began = now()
            var body: [UInt8] = []
            for try await buffer in request.body {
                // One byte over the limit is kept, so that the answer can say so.
                let room = ModelServer.bodyLimit + 1 - body.count
                body.append(contentsOf: buffer.readableBytesView.prefix(room))
            }
            let answer = server.answer(
                method: request.method.rawValue, path: request.uri.path,
                contentType: request.headers[.contentType] ?? "", body: body)
            if let spool, request.method == .post { tell(spool, request, answer.status, began) }
            var response = Response(
                status: .init(code: answer.status), body: .init(byteBuffer: ByteBuffer(bytes: answer.body)))
            response.headers[.contentType] = answer.contentType
            return response
        }

        /// Questions after health and metadata are no predictions, and not told.
        private func tell(_ spool: RequestSpool, _ request: Request, _ status: Int, _ began: Int64) {
            var exchange = RequestSpool.Exchange(
                method: request.method.rawValue, path: request.uri.path, status: status, began: began,
                took: now() - began)
            exchange.traceparent = header("traceparent", request)
            exchange.tracestate = header("tracestate", request)
            exchange.requestID = header("x-request-id", request)
            spool.add(exchange)
        }

        private func header(_ name: String, _ request: Request) -> String? {
            HTTPField.Name(name).flatMap { request.headers[$0] }
        }
    }
}
