import API
import Kernel
import Manifests

/// What a handler answers.
enum MLflowAnswer: Sendable {
    case json(JSONValue)
    /// JSON that is written already.
    case bytes([UInt8])
    /// Anything else: files, plain text.
    case foreign(ForeignAnswer)

    /// What calls that only change something answer.
    static let empty = MLflowAnswer.json([:])

    var foreign: ForeignAnswer {
        switch self {
        case .json(let value): ForeignAnswer(type: "application/json", .bytes(value.bytes))
        case .bytes(let bytes): ForeignAnswer(type: "application/json", .bytes(bytes))
        case .foreign(let answer): answer
        }
    }
}

/// One call of MLflow's API.
struct MLflowRoute: Sendable {
    typealias Handler = @Sendable (MLflowInput, Call) async throws -> MLflowAnswer

    let method: String
    /// "/api/2.0/mlflow/runs/get"; `{name}` takes one segment, `{name...}` at the end takes all that are left.
    let path: String
    /// What the caller must be allowed: looking needs `read`, everything else `run`, as for steps of pipelines.
    let needs: Permission
    let handle: Handler

    init(_ method: String, _ path: String, needs: Permission? = nil, _ handle: @escaping Handler) {
        (self.method, self.path, self.handle) = (method, path, handle)
        self.needs = needs ?? (method == "GET" ? .read : .run)
    }
}

/// The table of calls: finds the one that a request means. `/ajax-api/…`, which the browser uses, means `/api/…`.
struct MLflowRoutes: Sendable {
    private var exact: [String: MLflowRoute] = [:]
    private var patterns: [(segments: [Substring], route: MLflowRoute)] = []

    init(_ routes: [MLflowRoute]) {
        for route in routes {
            guard route.path.contains("{") else {
                exact["\(route.method) \(route.path)"] = route
                continue
            }
            patterns.append((route.path.split(separator: "/"), route))
        }
    }

    /// The route and what stood in its path's gaps; nil when there is none.
    func match(method: String, path: String) -> (route: MLflowRoute, path: [String: String])? {
        let path = path.hasPrefix("/ajax-api/") ? "/api/" + path.dropFirst("/ajax-api/".count) : path
        let method = method == "HEAD" ? "GET" : method
        if let route = exact["\(method) \(path)"] { return (route, [:]) }
        let segments = path.split(separator: "/")
        for (pattern, route) in patterns where route.method == method {
            if let gaps = Self.fill(pattern, with: segments) { return (route, gaps) }
        }
        return nil
    }

    private static func fill(_ pattern: [Substring], with segments: [Substring]) -> [String: String]? {
        var gaps: [String: String] = [:]
        for (index, part) in pattern.enumerated() {
            guard index < segments.count else { return nil }
            if part.hasPrefix("{"), part.hasSuffix("...}") {
                gaps[String(part.dropFirst().dropLast(4))] = decoded(segments[index...].joined(separator: "/"))
                return gaps
            }
            if part.hasPrefix("{") {
                gaps[String(part.dropFirst().dropLast())] = decoded(segments[index])
            } else if part != segments[index] {
                return nil
            }
        }
        return pattern.count == segments.count ? gaps : nil
    }

    /// `+` stands for itself in a path.
    private static func decoded(_ text: some StringProtocol) -> String {
        let text = String(text)
        return text.contains("%") ? FormText.decode(text.replacing("+", with: "%2B")) : text
    }
}
