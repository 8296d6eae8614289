import API
import Kernel
import Manifests

/// Why a request of MLflow's API is not done, in MLflow's own words: a code its clients switch on, and a message for people.
///
/// Source of the codes and their statuses: the `ErrorCode` of MLflow's `databricks.proto`.
struct MLflowError: Error, Equatable {
    enum Code: String, Sendable {
        case badRequest = "BAD_REQUEST"
        case invalidParameter = "INVALID_PARAMETER_VALUE"
        case invalidState = "INVALID_STATE"
        case alreadyExists = "RESOURCE_ALREADY_EXISTS"
        case conflict = "RESOURCE_CONFLICT"
        case aborted = "ABORTED"
        case unauthenticated = "UNAUTHENTICATED"
        case permissionDenied = "PERMISSION_DENIED"
        case doesNotExist = "RESOURCE_DOES_NOT_EXIST"
        case endpointNotFound = "ENDPOINT_NOT_FOUND"
        case tooLarge = "REQUEST_LIMIT_EXCEEDED"
        case exhausted = "RESOURCE_EXHAUSTED"
        case notImplemented = "NOT_IMPLEMENTED"
        case unavailable = "TEMPORARILY_UNAVAILABLE"
        case `internal` = "INTERNAL_ERROR"

        /// The HTTP status that MLflow's server answers with.
        var status: Int {
            switch self {
            case .badRequest, .invalidParameter, .alreadyExists: 400
            case .unauthenticated: 401
            case .permissionDenied: 403
            case .doesNotExist, .endpointNotFound: 404
            case .aborted, .conflict: 409
            case .tooLarge, .exhausted: 429
            case .internal, .invalidState: 500
            case .notImplemented: 501
            case .unavailable: 503
            }
        }
    }

    var code: Code
    var message: String
    /// Another status than the code's own: a body that is too large stays a 413.
    var status: Int

    init(_ code: Code, _ message: String, status: Int? = nil) {
        (self.code, self.message, self.status) = (code, message, status ?? code.status)
    }

    static func invalid(_ message: String) -> MLflowError { MLflowError(.invalidParameter, message) }
    static func missing(_ message: String) -> MLflowError { MLflowError(.doesNotExist, message) }

    /// A required parameter that is not there, or empty.
    static func required(_ name: String) -> MLflowError {
        .invalid(
            "Missing value for required parameter '\(name)'. See the API docs for more information about request parameters."
        )
    }

    /// A parameter of another type than the one that is wanted.
    static func wrong(_ name: String, _ value: JSONValue) -> MLflowError {
        .invalid(
            "Invalid value \(shown(value)) for parameter '\(name)' supplied:  Hint: Value was of type '\(kind(value))'. See the API docs for more information about request parameters."
        )
    }

    /// A value as it stands in a message, cut to a length that fits a log.
    static func shown(_ value: JSONValue) -> String {
        let text = value.text
        return text.count > 250 ? text.prefix(250) + "..." : text
    }

    /// The kinds of JSON by the names MLflow's messages have for them.
    private static func kind(_ value: JSONValue) -> String {
        switch value {
        case .null: "NoneType"
        case .bool: "bool"
        case .integer: "int"
        case .number: "float"
        case .string: "str"
        case .array: "list"
        case .object: "dict"
        }
    }

    /// What MLflow calls a problem of the house. No internals: an error nobody foresaw is told in one sentence.
    init(_ error: any Error) {
        if let error = error as? MLflowError {
            self = error
            return
        }
        let problem = Problem(describing: error)
        let hint = problem.hint.map { " \($0)" } ?? ""
        let message = problem.message.prefix(1).uppercased() + problem.message.dropFirst() + "." + hint
        switch problem.status {
        case 400, 422: self.init(.invalidParameter, message)
        case 401: self.init(.unauthenticated, message)
        case 403: self.init(.permissionDenied, message)
        case 404: self.init(.doesNotExist, message)
        case 409: self.init(.conflict, message)
        case 413: self.init(.tooLarge, message, status: 413)
        case 429: self.init(.exhausted, message)
        case 503: self.init(.unavailable, message)
        case 507: self.init(.unavailable, message, status: 507)
        default: self.init(.internal, "The server could not do this; see its log.")
        }
    }

    var answer: ForeignAnswer {
        let body: JSONValue = ["error_code": .string(code.rawValue), "message": .string(message)]
        return ForeignAnswer(status, type: "application/json", .bytes(body.bytes))
    }
}
