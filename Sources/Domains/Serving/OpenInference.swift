import API
import Learners
import Manifests

/// Open Inference Protocol v2 over REST with JSON tensors (kserve/open-inference-protocol, 2025-05).
extension ModelServer {
    func inference(_ method: String, _ parts: [String], _ body: [UInt8]) -> Answer {
        do throws(ServingError) {
            return try route(method, parts, body)
        } catch {
            return Self.json(error.status, ["error": .string(error.message)])
        }
    }

    private func route(_ method: String, _ parts: [String], _ body: [UInt8]) throws(ServingError) -> Answer {
        switch (method, parts) {
        case ("GET", []): return Self.json(200, ["name": "vagus", "version": "2", "extensions": []])
        case ("GET", ["health", "live"]): return Self.json(200, ["live": true])
        case ("GET", ["health", "ready"]): return Self.json(200, ["ready": true])
        default: break
        }
        guard parts.count >= 2, parts[0] == "models" else {
            throw ServingError("nothing is at this path; see GET /v2", status: 404)
        }
        guard parts[1] == name else {
            throw ServingError("there is no model \"\(parts[1])\" here, only \"\(name)\"", status: 404)
        }
        var rest = Array(parts.dropFirst(2))
        if rest.count >= 2, rest[0] == "versions" {
            guard rest[1] == version else {
                throw ServingError(
                    "there is no version \"\(rest[1])\" of \"\(name)\" here, only \(version)", status: 404)
            }
            rest.removeFirst(2)
        }
        switch (method, rest) {
        case ("GET", []): return Self.json(200, metadata)
        case ("GET", ["ready"]): return Self.json(200, ["name": .string(name), "ready": true])
        case ("POST", ["infer"]): return try infer(body)
        default: throw ServingError("\(method) is not answered here", status: method == "GET" ? 404 : 405)
        }
    }

    private var metadata: JSONValue {
        let inputs = bundle.signature.inputs.map { input -> JSONValue in
            ["name": .string(input.name), "datatype": .string(Self.datatype(input.type.rawValue)), "shape": [-1, 1]]
        }
        let output = bundle.signature.output
        return [
            "name": .string(name), "versions": [.string(version)],
            "platform": .string("vagus_\(bundle.signature.format)"),
            "inputs": .array(inputs),
            "outputs": [
                ["name": .string(output.name), "datatype": "FP32", "shape": [-1, .integer(Int64(output.size))]]
            ],
        ]
    }

    private static func datatype(_ type: String) -> String {
        switch type {
        case "int", "timestamp": "INT64"
        case "float": "FP64"
        case "bool": "BOOL"
        default: "BYTES"
        }
    }

    private func infer(_ body: [UInt8]) throws(ServingError) -> Answer {
        let request = try Self.parse(body)
        guard let inputs = request["inputs"]?.array, !inputs.isEmpty else {
            throw ServingError("\"inputs\" is missing or empty")
        }
        let output = bundle.signature.output
        for wanted in request["outputs"]?.array ?? [] where wanted["name"]?.string != output.name {
            throw ServingError("there is no output \"\(wanted["name"]?.string ?? "")\", only \"\(output.name)\"")
        }
        let scores: [Double]
        if inputs.count == 1, let tensor = inputs.first, tensor["name"]?.string == "features" {
            scores = try transformed(tensor)
        } else {
            var batch = Batch()
            batch.rows = try rows(inputs)
            try batch.readParameters(request["parameters"] ?? [:])
            scores = try predict(batch)
        }
        var answer: Ordered<JSONValue> = ["model_name": .string(name), "model_version": .string(version)]
        if let id = request["id"] { answer["id"] = id }
        let rows = Int64(scores.count / max(1, output.size))
        answer["outputs"] = [
            [
                "name": .string(output.name), "datatype": "FP32",
                "shape": output.size == 1 ? [.integer(rows)] : [.integer(rows), .integer(Int64(output.size))],
                "data": .array(scores.map(JSONValue.number)),
            ]
        ]
        return Self.json(200, .object(answer))
    }

    /// One tensor of features that the caller has transformed already, rows × features.
    private func transformed(_ tensor: JSONValue) throws(ServingError) -> [Double] {
        let width = bundle.predictor.featureNames.count
        let (shape, data) = try Self.read(tensor, named: "features")
        guard shape.count == 2, shape[1] == width else {
            throw ServingError("\"features\" must have the shape [rows, \(width)]")
        }
        var values: [Float] = []
        values.reserveCapacity(data.count)
        for value in data {
            guard let number = value.double else {
                throw ServingError("\"features\" holds \(value.kindName) where a number should be")
            }
            values.append(Float(number))
        }
        do { return try bundle.predict(features: Matrix(rows: shape[0], columns: width, values: values)) } catch {
            throw ServingError("\(error)")
        }
    }

    /// One tensor for each column, [n] or [n, 1].
    private func rows(_ inputs: [JSONValue]) throws(ServingError) -> [[String: RawValue]] {
        let known = bundle.signature.inputs.map(\.name)
        var rows: [[String: RawValue]] = []
        var first: String?
        for tensor in inputs {
            guard let column = tensor["name"]?.string else { throw ServingError("an input has no \"name\"") }
            let (shape, data) = try Self.read(tensor, named: column)
            guard shape.count == 1 || shape.count == 2 && shape[1] == 1 else {
                throw ServingError("input \"\(column)\" must have the shape [rows] or [rows, 1]")
            }
            if let first {
                guard data.count == rows.count else {
                    throw ServingError("input \"\(column)\" has \(data.count) rows, \"\(first)\" has \(rows.count)")
                }
            } else {
                first = column
                rows = Array(repeating: [:], count: data.count)
            }
            for (index, value) in data.enumerated() {
                rows[index][column] = try RawValue(value, column: column, row: index)
            }
        }
        for column in known where rows.first?[column] == nil {
            throw ServingError("input \"\(column)\" is missing")
        }
        return rows
    }

    static func parse(_ body: [UInt8]) throws(ServingError) -> JSONValue {
        guard body.count <= bodyLimit else {
            throw ServingError("the body is larger than \(bodyLimit >> 20) MiB", status: 413)
        }
        let value: JSONValue
        do { value = try JSONParser.parse(body) } catch {
            throw ServingError(
                "the body is not JSON: \(error.message)"
                    + (error.mark.map { " (line \($0.line), column \($0.column))" } ?? ""))
        }
        guard value.object != nil else { throw ServingError("the body must be a JSON object") }
        return value
    }

    /// Shape and flat data of a tensor, its data nested or flat.
    private static func read(_ tensor: JSONValue, named name: String) throws(ServingError) -> (
        shape: [Int], data: [JSONValue]
    ) {
        let shape = (tensor["shape"]?.array ?? []).compactMap(\.int)
        let types = [
            "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
            "BYTES",
        ]
        guard let datatype = tensor["datatype"]?.string, types.contains(datatype) else {
            throw ServingError(
                "input \"\(name)\" has no valid \"datatype\"; it is one of \(types.joined(separator: ", "))")
        }
        guard !shape.isEmpty, shape.count == tensor["shape"]?.array?.count,
            shape.allSatisfy({ $0 >= 0 && $0 <= rowLimit * 100 })
        else {
            throw ServingError("input \"\(name)\" has no valid \"shape\"")
        }
        var flat: [JSONValue] = []
        func add(_ value: JSONValue) {
            if let items = value.array { for item in items { add(item) } } else { flat.append(value) }
        }
        guard let data = tensor["data"] else { throw ServingError("input \"\(name)\" has no \"data\"") }
        add(data)
        let wanted = shape.reduce(1) { $0.multipliedReportingOverflow(by: $1).partialValue }
        guard flat.count == wanted else {
            throw ServingError("input \"\(name)\" says the shape \(shape) but holds \(flat.count) values")
        }
        return (shape, flat)
    }
}

extension RawValue {
    /// A cell as it was sent.
    init(_ json: JSONValue, column: String, row: Int) throws(ServingError) {
        switch json {
        case .null: self = .missing
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .number(Double(value))
        case .number(let value): self = value.isNaN ? .missing : .number(value)
        case .string(let text): self = .text(text)
        default: throw ServingError("\"\(column)\" of row \(row) is \(json.kindName), not a value")
        }
    }
}

extension Batch {
    /// Ids and times given beside the rows.
    mutating func readParameters(_ parameters: JSONValue) throws(ServingError) {
        if let given = parameters["prediction_ids"] {
            ids = (given.array ?? []).compactMap(\.string)
            guard ids.count == rows.count, given.array?.count == rows.count,
                ids.allSatisfy({ (1...128).contains($0.utf8.count) })
            else {
                throw ServingError("\"prediction_ids\" must hold one text of 1 to 128 bytes for each row")
            }
        }
        guard let given = parameters["event_time"] else { return }
        let list = given.array ?? [given]
        eventTimes = list.compactMap { $0.string.flatMap(Timestamp.init)?.microseconds }
        guard eventTimes.count == list.count, list.count == 1 || list.count == rows.count else {
            throw ServingError(
                "\"event_time\" must be a time like 2018-01-01T00:00:00Z, one for all rows or one for each")
        }
    }
}
