import API
import Expressions
import Manifests

/// One requirement and how it came out.
struct Gate {
    let require: String
    let passed: Bool
    /// The numbers it read, or why it could not be told.
    let message: String

    var json: JSONValue {
        ["require": .string(require), "passed": .bool(passed), "message": .string(message)]
    }
}

/// Requirements on a model, as expressions over its figures.
///
/// They see `auc` and the other metrics by name, `champion.auc`, `bias.COLUMN.tpr_gap`. A figure that is not there fails
/// the requirement. Without a champion the requirements that mention it hold: the first model has none to beat.
struct Gates {
    private let expressions: [Expression]

    /// - Throws: A problem that names the requirement which cannot be read.
    init(_ requirements: [String]) throws(Problem) {
        guard requirements.count <= TrainingLimits.requirements else {
            throw Problem(
                "evaluate.require", status: 422,
                "there are \(requirements.count) requirements, more than \(TrainingLimits.requirements)")
        }
        var expressions: [Expression] = []
        for (index, text) in requirements.enumerated() {
            do throws(ExpressionError) {
                expressions.append(try Expression(parsing: text))
            } catch {
                throw Problem(
                    "evaluate.require", status: 422, "the requirement \"\(text)\" cannot be read: \(error.description)",
                    hint: error.hint ?? "Write for instance: auc >= 0.80", location: "evaluate.require.\(index)")
            }
        }
        self.expressions = expressions
    }

    /// Whether any requirement compares with a champion.
    var mentionChampion: Bool { expressions.contains(where: Self.mentionsChampion) }

    /// Tells of every requirement whether it holds.
    ///
    /// - Parameters:
    ///   - figures: Metrics by name, "champion" and "bias" as objects.
    ///   - hasChampion: Whether there is one to compare with.
    /// - Returns: One verdict a requirement, in their order.
    func judge(_ figures: [String: Value], hasChampion: Bool) -> [Gate] {
        expressions.map { expression in
            if !hasChampion, Self.mentionsChampion(expression) {
                return Gate(
                    require: expression.source, passed: true, message: "holds, as there is no champion to compare with")
            }
            let numbers = Self.numbers(expression, in: .object(Ordered(figures.map { ($0.key, $0.value) })))
            do {
                let context = Context(values: figures, missing: .error)
                let passed = try expression.evaluate(in: context).isTruthy
                return Gate(require: expression.source, passed: passed, message: numbers)
            } catch let error as ExpressionError {
                let known = figures.keys.sorted().joined(separator: ", ")
                let message = "\(error.message); the figures are: \(known)"
                return Gate(require: expression.source, passed: false, message: message)
            } catch {
                return Gate(require: expression.source, passed: false, message: "could not be told: \(error)")
            }
        }
    }

    private static func mentionsChampion(_ expression: Expression) -> Bool {
        expression.references.contains { $0.path.first?.lowercased() == "champion" }
    }

    /// "auc is 0.73, champion.auc is 0.74".
    private static func numbers(_ expression: Expression, in figures: Value) -> String {
        var told: [String] = []
        for reference in expression.references {
            var value: Value? = figures
            for name in reference.path { value = value?.member(name) }
            guard case .number(let number)? = value else { continue }
            let words = "\(reference) is \(short(number))"
            if !told.contains(words) { told.append(words) }
        }
        return told.joined(separator: ", ")
    }
}
