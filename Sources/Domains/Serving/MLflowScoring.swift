import API
import Learners
import Manifests

/// MLflow's scoring protocol: POST /invocations.
extension ModelServer {
    private static let forms = ["dataframe_split", "dataframe_records", "inputs", "instances"]

    func scoring(_ contentType: String, _ body: [UInt8]) -> Answer {
        do throws(ServingError) {
            let type = contentType.prefix { $0 != ";" }.lowercased()
            var batch: Batch
            switch type {
            case "application/json", "": batch = try Self.batch(body)
            case "text/csv": batch = try Self.csv(body)
            default: return Self.text(415, "send application/json or text/csv\n")
            }
            try batch.takeNames()
            for column in bundle.signature.inputs.map(\.name) where batch.rows.contains(where: { $0[column] == nil }) {
                throw ServingError("column \"\(column)\" is missing")
            }
            let scores = try predict(batch)
            return Self.json(200, ["predictions": .array(nested(scores))])
        } catch {
            return Self.json(
                error.status,
                [
                    "error_code": .string(Self.code(of: error.status)),
                    "message": .string(error.message),
                ])
        }
    }

    private static func code(of status: Int) -> String {
        switch status {
        case 400: "BAD_REQUEST"
        case 413: "RESOURCE_EXHAUSTED"
        default: "INTERNAL_ERROR"
        }
    }

    private func nested(_ scores: [Double]) -> [JSONValue] {
        let width = bundle.signature.output.size
        guard width > 1 else { return scores.map(JSONValue.number) }
        return stride(from: 0, to: scores.count, by: width).map {
            .array(scores[$0..<$0 + width].map(JSONValue.number))
        }
    }

    private static func batch(_ body: [UInt8]) throws(ServingError) -> Batch {
        let request = try parse(body)
        let given = forms.filter { request[$0] != nil }
        guard given.count == 1, let form = given.first, let value = request[form] else {
            throw ServingError("the body must hold exactly one of \(forms.joined(separator: ", "))")
        }
        var batch = Batch()
        switch form {
        case "dataframe_split": batch.rows = try split(value)
        case "dataframe_records": batch.rows = try records(value, form)
        default: batch.rows = value.object == nil ? try records(value, form) : try columns(value, form)
        }
        try batch.readParameters(request["params"] ?? [:])
        return batch
    }

    private static func split(_ value: JSONValue) throws(ServingError) -> [[String: RawValue]] {
        let columns = (value["columns"]?.array ?? []).compactMap(\.string)
        guard !columns.isEmpty, let data = value["data"]?.array else {
            throw ServingError("\"dataframe_split\" needs \"columns\" and \"data\"")
        }
        var rows: [[String: RawValue]] = []
        for (index, cells) in data.enumerated() {
            guard let cells = cells.array, cells.count == columns.count else {
                throw ServingError("row \(index) of \"dataframe_split\" does not have \(columns.count) values")
            }
            var row: [String: RawValue] = [:]
            for (column, cell) in zip(columns, cells) { row[column] = try RawValue(cell, column: column, row: index) }
            rows.append(row)
        }
        return rows
    }

    private static func records(_ value: JSONValue, _ form: String) throws(ServingError) -> [[String: RawValue]] {
        guard let items = value.array else { throw ServingError("\"\(form)\" must be a list of rows") }
        var rows: [[String: RawValue]] = []
        for (index, item) in items.enumerated() {
            guard let members = item.object else {
                throw ServingError("row \(index) of \"\(form)\" must be a map from column to value")
            }
            var row: [String: RawValue] = [:]
            for (column, cell) in members { row[column] = try RawValue(cell, column: column, row: index) }
            rows.append(row)
        }
        return rows
    }

    private static func columns(_ value: JSONValue, _ form: String) throws(ServingError) -> [[String: RawValue]] {
        var rows: [[String: RawValue]] = []
        for (position, (column, cells)) in (value.object ?? [:]).enumerated() {
            guard let cells = cells.array else {
                throw ServingError("column \"\(column)\" of \"\(form)\" must be a list")
            }
            if position == 0 { rows = Array(repeating: [:], count: cells.count) }
            guard cells.count == rows.count else { throw ServingError("the columns of \"\(form)\" differ in length") }
            for (index, cell) in cells.enumerated() {
                rows[index][column] = try RawValue(cell, column: column, row: index)
            }
        }
        return rows
    }

    /// Plain CSV with a header; quotes as in RFC 4180.
    private static func csv(_ body: [UInt8]) throws(ServingError) -> Batch {
        guard body.count <= bodyLimit, let text = String(validating: body, as: UTF8.self) else {
            throw ServingError("the body is no UTF-8 text of at most \(bodyLimit >> 20) MiB")
        }
        var lines = CSVLines.parse(text)
        guard let header = lines.first else { throw ServingError("the CSV is empty") }
        lines.removeFirst()
        var batch = Batch()
        for (index, cells) in lines.enumerated() {
            guard cells.count == header.count else {
                throw ServingError("row \(index) of the CSV does not have \(header.count) cells")
            }
            var row: [String: RawValue] = [:]
            for (column, cell) in zip(header, cells) {
                row[column] = cell.isEmpty ? .missing : Double(cell).map(RawValue.number) ?? .text(cell)
            }
            batch.rows.append(row)
        }
        return batch
    }
}

/// CSV small enough for memory, cell by cell.
enum CSVLines {
    static func parse(_ text: String) -> [[String]] {
        var lines: [[String]] = []
        var line: [String] = []
        var cell = ""
        var isQuoted = false
        var previousQuote = false
        for scalar in text.unicodeScalars {
            if isQuoted {
                if scalar == "\"" {
                    isQuoted = false
                    previousQuote = true
                } else {
                    cell.unicodeScalars.append(scalar)
                }
                continue
            }
            switch scalar {
            case "\"":
                if previousQuote { cell.append("\"") }
                isQuoted = true
                previousQuote = false
                continue
            case ",":
                line.append(cell)
                cell = ""
            case "\n":
                line.append(cell)
                lines.append(line)
                (line, cell) = ([], "")
            case "\r": break
            default: cell.unicodeScalars.append(scalar)
            }
            previousQuote = false
        }
        if !cell.isEmpty || !line.isEmpty { lines.append(line + [cell]) }
        return lines.filter { $0 != [""] }
    }
}

extension Batch {
    /// Columns `prediction_id` and `event_time` name the rows and tell when they happened.
    mutating func takeNames() throws(ServingError) {
        if ids.isEmpty, rows.allSatisfy({ $0["prediction_id"] != nil }) {
            for (index, row) in rows.enumerated() {
                guard case .text(let id) = row["prediction_id"], (1...128).contains(id.utf8.count) else {
                    throw ServingError("\"prediction_id\" of row \(index) must be text of 1 to 128 bytes")
                }
                ids.append(id)
            }
        }
        if eventTimes.isEmpty, rows.allSatisfy({ $0["event_time"] != nil }) {
            for (index, row) in rows.enumerated() {
                guard case .text(let text) = row["event_time"], let time = Timestamp(text) else {
                    throw ServingError("\"event_time\" of row \(index) must be a time like 2018-01-01T00:00:00Z")
                }
                eventTimes.append(time.microseconds)
            }
        }
        for index in rows.indices {
            rows[index]["prediction_id"] = nil
            rows[index]["event_time"] = nil
        }
    }
}
