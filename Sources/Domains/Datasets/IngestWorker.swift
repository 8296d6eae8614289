import API
import Foundation
import Frames
package import Kernel
import Manifests

/// Reads a dataset's file into typed rows; rows with cells that do not parse are put aside and told.
///
/// Artifacts: `rows` (rows.vgf), `report`. Values: dataset, digest, rows, rejected.
package struct IngestWorker: Worker {
    package static let verb = "ingest"

    package init() {}

    package func run(_ order: WorkOrder, log: @Sendable (String) -> Void) async throws -> WorkResult {
        _ = try WorkFiles.settings(IngestSpec.self, of: order)
        let (name, spec) = try WorkFiles.dataset(of: order)
        let path = try DatasetPlace.path(of: spec.source.uri, dataset: name, order: order)
        log("reading \(spec.source.uri)")
        let schema = spec.schema_.map { ColumnSchema($0.name, ColumnType($0.type)) }
        let table = try read(path, spec.source, schema, dataset: name)
        let frame = table.frame
        let dropped = table.header.filter { frame[$0] == nil }
        tell(table, dropped: dropped, isTyped: !schema.isEmpty, log)
        guard frame.rowCount > 0 || table.rejectedCount == 0 else {
            let first = table.rejected.first
            throw Problem(
                "dataset.all-rejected", status: 422,
                "none of the \(counted(table.rowsRead, "row")) of \"\(spec.source.uri)\" fits the schema",
                detail: first.map { "Row \($0.row): \(Self.words($0))." },
                hint: "Compare the types of dataset \"\(name)\" with the file.")
        }
        return try finish(order, name, spec, table, dropped)
    }

    private func read(_ path: String, _ source: SourceSpec, _ schema: [ColumnSchema], dataset: String) throws
        -> CSVResult
    {
        let wanted = schema.isEmpty ? nil : schema
        do throws(FrameError) {
            let table =
                switch source.type {
                case .csv: try Frame.readCSV(path: path, schema: wanted)
                case .json_lines: try Frame.readJSONLines(path: path, schema: wanted)
                }
            // JSON Lines may leave keys out of any line, but not out of all of them.
            if table.rowsRead > 0 { try requireAll(schema, in: table.header) }
            return table
        } catch  where error.code == .unknownColumn {
            let header = try source.type == .csv ? header(path) : nil
            throw missing(schema, header, source, dataset, otherwise: error)
        } catch {
            throw try problem(error, dataset: dataset)
        }
    }

    private func requireAll(_ schema: [ColumnSchema], in header: [String]) throws(FrameError) {
        let known = Set(header)
        let absent = schema.map(\.name).filter { !known.contains($0) }
        guard !absent.isEmpty else { return }
        throw FrameError(.unknownColumn, absent.joined(separator: "\n"), hint: header.joined(separator: "\n"))
    }

    /// The names of a CSV file's columns.
    private func header(_ path: String) throws -> [String] {
        try WorkFiles.framing { () throws(FrameError) in try Frame.readCSV(path: path, schema: []) }.header
    }

    private func missing(
        _ schema: [ColumnSchema], _ header: [String]?, _ source: SourceSpec, _ dataset: String,
        otherwise error: FrameError
    ) -> Problem {
        let known = header ?? error.hint.split(separator: "\n").map(String.init)
        let absent = schema.map(\.name).filter { !known.contains($0) }
        let quoted = absent.map { "\"\($0)\"" }.joined(separator: ", ")
        let near = absent.first.map { suggestion(for: $0, among: known, called: "column of the file") }
        return Problem(
            "dataset.columns", status: 422,
            "\"\(source.uri)\" has no \(absent.count == 1 ? "column" : "columns") \(quoted)",
            detail: "Dataset \"\(dataset)\" declares \(counted(schema.count, "column")).", hint: near)
    }

    private func problem(_ error: FrameError, dataset: String) throws -> Problem {
        Problem(
            "dataset.unreadable", status: 422, "dataset \"\(dataset)\" could not be read: \(error.message)",
            hint: error.hint)
    }

    private func tell(_ table: CSVResult, dropped: [String], isTyped: Bool, _ log: (String) -> Void) {
        if !isTyped {
            let types = table.frame.schema.map { "\($0.name) \($0.type.rawValue)" }.joined(separator: ", ")
            log("no schema declared; found: \(types)")
        }
        if !dropped.isEmpty {
            log(
                "left out \(counted(dropped.count, "column")) that the schema does not name: "
                    + dropped.joined(separator: ", "))
        }
        if table.rejectedCount > 0 {
            log("put \(counted(table.rejectedCount, "row")) aside that do not fit the schema")
            for row in table.rejected.prefix(5) { log("  row \(row.row): \(Self.words(row))") }
        }
        log("\(counted(table.frame.rowCount, "row")), \(counted(table.frame.columns.count, "column"))")
    }

    private static func words(_ row: RejectedRow) -> String {
        guard let column = row.column else { return row.reason }
        return "\(column) is \"\(row.value)\", \(row.reason)"
    }

    private func finish(
        _ order: WorkOrder, _ name: String, _ spec: DatasetSpec, _ table: CSVResult, _ dropped: [String]
    ) throws -> WorkResult {
        let frame = table.frame
        let digest = WorkFiles.digest(frame)
        let shown = table.rejected.prefix(DatasetLimits.quarantineShown)
        let report: JSONValue = [
            "dataset": .string(name), "source": .string(spec.source.uri), "digest": .string(digest),
            "rows": .count(frame.rowCount), "rejected": .count(table.rejectedCount),
            "quarantined": .count(table.rejectedCount), "dropped": .texts(dropped),
            "columns": .array(
                zip(frame.schema, frame.columns).map { schema, column in
                    [
                        "name": .string(schema.name), "type": .string(schema.type.rawValue),
                        "missing": .count(column.missingCount),
                    ]
                }),
            "quarantine": .array(
                shown.map { row in
                    [
                        "row": .count(row.row), "column": row.column.map(JSONValue.string) ?? .null,
                        "value": .string(row.value), "reason": .string(Self.words(row)),
                    ]
                }),
        ]
        try WorkFiles.write(frame, WorkFiles.rows, of: order)
        try WorkFiles.write(Array(report.prettyText.utf8), WorkFiles.report, of: order)
        var result = WorkResult()
        result.artifacts = ["rows": WorkFiles.rows, "report": WorkFiles.report]
        result.outputs = [
            "dataset": .string(name), "digest": .string(digest), "rows": .count(frame.rowCount),
            "rejected": .count(table.rejectedCount),
        ]
        result.report = report
        return result
    }
}

/// Where a dataset's file lies on this runner.
enum DatasetPlace {
    /// Turns a `uri` into the path of a file that is there.
    static func path(of uri: String, dataset: String, order: WorkOrder) throws(Problem) -> String {
        let path = try resolved(uri, dataset: dataset, order: order)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw Problem(
                "dataset.file-missing", status: 422,
                "the file of dataset \"\(dataset)\" is not there: \(path)",
                hint: uri.hasPrefix("./")
                    ? "The path begins in the workspace: check the repository out first, with a checkout step."
                    : "Put it there, or change `source.uri`; a relative path begins in the folder of --datasets.")
        }
        guard !isFolder.boolValue else {
            throw Problem(
                "dataset.file-missing", status: 422, "the source of dataset \"\(dataset)\" is a folder: \(path)",
                hint: "Name one file in `source.uri`.")
        }
        return path
    }

    private static func resolved(_ uri: String, dataset: String, order: WorkOrder) throws(Problem) -> String {
        if uri.contains("://") {
            throw Problem(
                "dataset.source", status: 422, "dataset \"\(dataset)\" is at \"\(uri)\", which is no file",
                hint: "Fetch it in a step before, and name the file: `uri: ./data.csv`.")
        }
        if uri.hasPrefix("/") { return uri }
        if uri.hasPrefix("./") { return "\(order.workspace)/\(uri.dropFirst(2))" }
        guard !order.datasets.isEmpty else {
            throw Problem(
                "dataset.folder", status: 422, "this runner has no folder of datasets to find \"\(uri)\" in",
                hint: "Start it with --datasets FOLDER, or write an absolute path, or ./… for one in the workspace.")
        }
        return "\(order.datasets)/\(uri)"
    }
}

extension ColumnType {
    /// The type of values that a declared column has.
    init(_ type: ColumnSpec.ValueType) {
        self =
            switch type {
            case .int: .int
            case .float: .float
            case .bool: .bool
            case .category: .category
            case .string: .string
            case .timestamp: .timestamp
            }
    }
}
