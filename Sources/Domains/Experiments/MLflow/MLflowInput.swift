import API
import Kernel
import Manifests

/// What a request of MLflow's API brings: the JSON of its body, or of a GET its query, and what stood in the path.
///
/// Values of a query are texts, and a name that comes several times is a list; whole numbers are therefore read from text, too, as
/// MLflow reads them. Unknown members are passed over. Empty texts count as missing where something is required, as they do in
/// protocol buffers.
struct MLflowInput: Sendable {
    /// Always an object.
    let json: JSONValue
    /// What stood where the route has `{name}`, decoded; `{name...}` takes the rest of the path.
    let path: [String: String]
    let request: ForeignRequest

    /// The name of the header that says which project ("workspace") is meant.
    private static let workspaceHeader = "x-mlflow-workspace"

    /// The project whose experiments and models are meant: MLflow's workspace.
    var project: String { request.headers[Self.workspaceHeader].flatMap { $0.isEmpty ? nil : $0 } ?? "default" }

    init(_ request: ForeignRequest, path: [String: String]) {
        (self.request, self.path) = (request, path)
        if !request.body.isEmpty, request.method != "GET" {
            // A body that is no JSON object has no parameters: what is required is told to be missing, as MLflow does.
            let parsed = try? JSONParser.parse(request.body)  // no parameters, see above
            if let parsed, parsed.object != nil { json = parsed } else { json = [:] }
        } else {
            json = Self.fromQuery(request.query)
        }
    }

    private static func fromQuery(_ query: [(name: String, value: String)]) -> JSONValue {
        var members = Ordered<JSONValue>()
        for (name, value) in query {
            switch members[name] {
            case nil: members[name] = .string(value)
            case .array(let items): members[name] = .array(items + [.string(value)])
            case let first?: members[name] = .array([first, .string(value)])
            }
        }
        return .object(members)
    }

    /// A member that is there and not null.
    func value(_ name: String) -> JSONValue? { Self.present(json[name]) }

    static func present(_ value: JSONValue?) -> JSONValue? {
        guard let value, !value.isNull else { return nil }
        return value
    }

    // MARK: Texts

    func string(_ name: String) throws(MLflowError) -> String {
        guard let text = try text(name), !text.isEmpty else { throw .required(name) }
        return text
    }

    /// A text that may be empty or missing.
    func text(_ name: String) throws(MLflowError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw .wrong(name, value) }
        return text
    }

    /// The first of the names that has a text: `run_id`, else its old name `run_uuid`.
    func string(_ name: String, or old: String) throws(MLflowError) -> String {
        if let text = try text(name), !text.isEmpty { return text }
        if let text = try text(old), !text.isEmpty { return text }
        throw .required(name)
    }

    /// A list of texts; in a query one text alone is a list of one.
    func strings(_ name: String) throws(MLflowError) -> [String] {
        guard let value = value(name) else { return [] }
        if let text = value.string, request.method == "GET" { return [text] }
        guard let items = value.array else { throw .wrong(name, value) }
        var texts: [String] = []
        for item in items {
            guard let text = item.string else { throw .wrong(name, value) }
            texts.append(text)
        }
        return texts
    }

    // MARK: Numbers

    func integer(_ name: String) throws(MLflowError) -> Int64? {
        guard let value = value(name) else { return nil }
        guard let number = Self.integer(value) else { throw .wrong(name, value) }
        return number
    }

    static func integer(_ value: JSONValue) -> Int64? {
        switch value {
        case .integer(let number): number
        case .number(let number): Int64(exactly: number)
        case .string(let text): Int64(text)
        default: nil
        }
    }

    /// A floating-point number; `"NaN"`, `"Infinity"` and `"-Infinity"` are texts in JSON.
    static func double(_ value: JSONValue) -> Double? {
        if let number = value.double { return number }
        switch value.string {
        case "NaN", "nan": return .nan
        case "Infinity", "inf": return .infinity
        case "-Infinity", "-inf": return -.infinity
        case let text?: return Double(text)
        case nil: return nil
        }
    }

    func bool(_ name: String) throws(MLflowError) -> Bool? {
        guard let value = value(name) else { return nil }
        switch value {
        case .bool(let truth): return truth
        case .string("true"): return true
        case .string("false"): return false
        default: throw .wrong(name, value)
        }
    }

    // MARK: Lists of objects

    func list(_ name: String) throws(MLflowError) -> [JSONValue] {
        guard let value = value(name) else { return [] }
        guard let items = value.array else { throw .wrong(name, value) }
        return items
    }

    /// `[{"key": …, "value": …}]`, as tags and params come.
    func pairs(_ name: String) throws(MLflowError) -> [(key: String, value: String)] {
        var pairs: [(key: String, value: String)] = []
        for (index, item) in try list(name).enumerated() {
            guard case .object = item else { throw .wrong("\(name)[\(index)]", item) }
            let key = item["key"]?.string ?? ""
            guard !key.isEmpty else { throw .required("\(name)[\(index)].key") }
            let value = Self.present(item["value"]) ?? .string("")
            guard let text = value.string else { throw .wrong("\(name)[\(index)].value", value) }
            pairs.append((key, text))
        }
        return pairs
    }
}
