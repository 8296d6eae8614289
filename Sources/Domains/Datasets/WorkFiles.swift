import API
import Foundation
import Frames
import Kernel
import Learners
import Manifests

/// Reading and writing of workers, with errors that a person can act on.
enum WorkFiles {
    static let rows = "rows.vgf"
    static let report = "report.json"

    /// The input of a name as a table.
    static func table(_ name: String, of order: WorkOrder) throws -> Frame {
        guard let path = order.inputs[name] else {
            throw Problem(
                "work.input", status: 422, "\(order.verb) was given no input \"\(name)\"",
                hint: "Name the stage that leaves it behind: `input: stage.rows`.")
        }
        return try framing { () throws(FrameError) in try Frame.read(path: path) }
    }

    static func write(_ frame: Frame, _ name: String, of order: WorkOrder) throws {
        try framing { () throws(FrameError) in try frame.write(path: "\(order.outputs)/\(name)") }
    }

    static func write(_ bytes: [UInt8], _ name: String, of order: WorkOrder) throws {
        do {
            try Data(bytes).write(to: URL(filePath: "\(order.outputs)/\(name)"), options: .atomic)
        } catch {
            throw Problem(
                "work.unwritable", status: 500, "could not write \"\(name)\": \(error.localizedDescription)",
                hint: "Look at the space left on the runner's disk.")
        }
    }

    static func settings<Spec: Manifest>(_ type: Spec.Type, of order: WorkOrder) throws -> Spec {
        do {
            return try Spec(json: order.settings, at: [order.verb])
        } catch {
            throw Problem(error)
        }
    }

    /// The declared dataset that the order carries.
    static func dataset(of order: WorkOrder) throws -> (name: String, spec: DatasetSpec) {
        guard case .object(var members)? = order.resources[DatasetKind.name] else {
            throw Problem(
                "dataset.not-found", status: 404, "\(order.verb) was given no dataset",
                hint: "List the datasets with: vagus get datasets")
        }
        let name = members["name"]?.string ?? ""
        members["name"] = nil
        do {
            return (name, try DatasetSpec(json: .object(members), at: ["Dataset/\(name)"]))
        } catch {
            throw Problem(error)
        }
    }

    /// Digest of a table's content, as digests are written everywhere.
    static func digest(_ frame: Frame) -> String { "sha256:" + frame.digest }

    static func framing<T>(_ body: () throws(FrameError) -> T) throws -> T {
        do {
            return try body()
        } catch {
            throw Problem(
                "table.\(error.code.rawValue.replacing("_", with: "-"))", status: 422, error.message, hint: error.hint)
        }
    }

    static func learning<T>(_ body: () throws(LearnerError) -> T) throws -> T {
        do {
            return try body()
        } catch {
            throw Problem(
                "learner.\(error.code.rawValue.replacing("_", with: "-"))", status: 422, error.message,
                hint: error.hint)
        }
    }
}

extension JSONValue {
    /// A count as JSON.
    static func count(_ number: Int) -> JSONValue { .integer(Int64(number)) }

    /// Texts as JSON.
    static func texts(_ texts: some Sequence<String>) -> JSONValue { .array(texts.map(JSONValue.string)) }
}

/// "1 row", "2 rows".
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
