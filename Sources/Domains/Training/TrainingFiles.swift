import API
import Foundation
import Frames
import Kernel
import Learners
import Manifests
import Stats

/// Reading and writing of workers, with errors that a person can act on.
enum TrainingFiles {
    static func input(_ name: String, of order: WorkOrder) throws(Problem) -> String {
        guard let path = order.inputs[name] else {
            throw Problem(
                "work.input", status: 422, "\(order.verb) was given no input \"\(name)\"",
                hint: "Name the stage that leaves it behind, as `stage.\(name)`.")
        }
        return path
    }

    static func table(_ name: String, of order: WorkOrder) throws(Problem) -> Frame {
        let path = try input(name, of: order)
        return try framing { () throws(FrameError) in try Frame.read(path: path) }
    }

    static func bytes(_ path: String) throws(Problem) -> [UInt8] {
        do {
            return Array(try Data(contentsOf: URL(filePath: path)))
        } catch {
            throw Problem("work.unreadable", status: 422, "could not read \"\(path)\": \(error.localizedDescription)")
        }
    }

    static func write(_ json: JSONValue, to path: String) throws(Problem) {
        do {
            try Data(json.prettyText.utf8).write(to: URL(filePath: path), options: .atomic)
        } catch {
            throw Problem(
                "work.unwritable", status: 500, "could not write \"\(path)\": \(error.localizedDescription)",
                hint: "Look at the space left on the runner's disk.")
        }
    }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    static func settings<Spec: Manifest>(_ type: Spec.Type, of order: WorkOrder) throws(Problem) -> Spec {
        do {
            return try Spec(json: order.settings, at: [order.verb])
        } catch {
            throw Problem(error)
        }
    }

    static func framing<T>(_ body: () throws(FrameError) -> T) throws(Problem) -> T {
        do {
            return try body()
        } catch {
            throw Problem(
                "table.\(error.code.rawValue.replacing("_", with: "-"))", status: 422, error.message, hint: error.hint)
        }
    }

    static func learning<T>(_ body: () throws(LearnerError) -> T) throws(Problem) -> T {
        do {
            return try body()
        } catch {
            throw Problem(
                "learner.\(error.code.rawValue.replacing("_", with: "-"))", status: 422, error.message,
                hint: error.hint)
        }
    }
}

/// The numbers that a model learns or is judged by.
struct Labels {
    let values: [Double]

    /// Reads the target of all rows.
    ///
    /// - Parameters:
    ///   - frame: The rows.
    ///   - target: Column of numbers or truth values.
    ///   - noun: What the rows are called in messages: "training data".
    /// - Throws: A problem that names the first row (from 1) without a number.
    init(_ frame: Frame, target: String, of noun: String) throws(Problem) {
        guard let column = frame[target] else {
            throw Problem(
                "target.missing", status: 422, "the \(noun) has no column \"\(target)\" to predict",
                hint: suggestion(for: target, among: frame.names, called: "column"))
        }
        guard frame.rowCount > 0 else {
            throw Problem(
                "rows.missing", status: 422, "the \(noun) has no rows",
                hint: "Look at what the stages before left: vagus artifacts RUN")
        }
        values = column.type == .timestamp ? Array(repeating: .nan, count: column.count) : column.doubles
        guard let row = values.firstIndex(where: { !$0.isFinite }) else { return }
        if let text = column.text(row) {
            throw Problem(
                "target.text", status: 422,
                "the target \"\(target)\" is \"\(text)\" in row \(row + 1) of the \(noun), which is no number",
                hint: "Declare it as bool or int, with 0 and 1 for two classes.")
        }
        throw Problem(
            "target.missing-value", status: 422,
            "the target \"\(target)\" is missing in row \(row + 1) of the \(noun)",
            hint: "Put such rows aside: expect_column_values_to_not_be_null with severity: quarantine.")
    }

    /// Whether there are no others than 0 and 1.
    var areBinary: Bool { values.allSatisfy { $0 == 0 || $0 == 1 } }
    var flags: [Bool] { values.map { $0 == 1 } }
    var floats: [Float] { values.map { Float($0) } }
}

extension JSONValue {
    /// A count as JSON.
    static func count(_ number: Int) -> JSONValue { .integer(Int64(number)) }
}

/// Six digits are enough to read; whole numbers without a fraction.
func short(_ value: Double) -> String {
    if let whole = Int(exactly: value) { return "\(whole)" }
    guard value.isFinite, abs(value) < 1e9, abs(value) > 1e-5 else { return "\(value)" }
    return "\((value * 1e5).rounded() / 1e5)"
}

/// "1 row", "2 rows".
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
