import Expressions
import Manifests
import Synchronization
import Testing

/// The values that most tests see.
let sample: [String: Value] = [
    "github": .object([
        "ref": .string("refs/heads/Main"), "event_name": .string("push"), "run-number": .number(42),
        "Mixed": .object(["Case": .string("yes")]),
    ]),
    "env": .object(["EMPTY": .string(""), "TEN": .string("10"), "HEX": .string(" 0xff "), "WORD": .string("ten")]),
    "list": .array([.number(1), .string("Two"), .bool(true), .null]),
    "fruits": .array([
        .object(["name": .string("apple"), "quantity": .number(1), "tags": .array([.string("red"), .string("round")])]),
        .object(["name": .string("orange"), "quantity": .number(2)]),
        .string("no object"),
        .object(["name": .string("pear"), "quantity": .number(1), "tags": .array([.string("green")])]),
    ]),
    "veg": .object([
        "a": .object(["score": .number(1)]), "b": .object(["score": .number(2)]), "c": .string("no object"),
    ]),
    "auc": .number(0.911), "champion": .object(["auc": .number(0.915), "f-1": .number(0.5)]),
    "bias": .object(["SEX": .object(["tpr_gap": .number(0.08)])]),
    "latency-ms": .number(12),
]

func evaluate(_ source: String, missing: Context.Missing = .null) throws -> Value {
    try Expression(parsing: source).evaluate(in: Context(values: sample, missing: missing))
}

@Suite struct EvaluationTests {
    @Test(arguments: [
        // Literals, as in GitHub's reference of the language.
        ("null", Value.null), ("true", .bool(true)), ("711", .number(711)), ("-9.2", .number(-9.2)),
        ("0xff", .number(255)), ("0o17", .number(15)), ("-2.99e-2", .number(-0.0299)), (".5", .number(0.5)),
        ("Infinity", .number(.infinity)), ("'Mona the Octocat'", .string("Mona the Octocat")),
        ("'It''s open source!'", .string("It's open source!")), ("''", .string("")), ("'üñî'", .string("üñî")),
        // Access.
        ("github.ref", .string("refs/heads/Main")), ("github['ref']", .string("refs/heads/Main")),
        ("GITHUB.REF", .string("refs/heads/Main")), ("github.mixed['CASE']", .string("yes")),
        ("github.run-number", .number(42)), ("github.nothing", .null), ("github.nothing.more[0].x", .null),
        ("list[0]", .number(1)), ("list[1.9]", .string("Two")), ("list['1']", .string("Two")), ("list[4]", .null),
        ("list[-1]", .null), ("list['x']", .null), ("list.length", .null), ("github[list]", .null),
        ("fruits[github.run-number - 42].name", .string("apple")), ("latency-ms", .number(12)),
    ])
    func `literals and access`(source: String, expected: Value) throws {
        #expect(try evaluate(source) == expected)
    }

    @Test(
        arguments: [
            ("fruits.*.name", ["apple", "orange", "pear"]), ("fruits[*].quantity", [1.0, 2.0, 1.0]),
            ("fruits.*.tags[0]", ["red", "green"]), ("fruits.*.tags.*", ["red", "round", "green"]),
            ("veg.*.score", [1.0, 2.0]), ("fruits.*.nothing", []),
        ] as [(String, [any Sendable])])
    func `filters`(source: String, expected: [any Sendable]) throws {
        let values = expected.map { ($0 as? String).map(Value.string) ?? ($0 as? Double).map(Value.number) ?? .null }
        #expect(try evaluate(source) == .array(values))
    }

    @Test(arguments: [
        // Kinds differ: both become numbers; text is compared without regard to case.
        ("1 == '1'", true), ("0 == ''", true), ("0 == null", true), ("null == ''", true), ("true == 1", true),
        ("true == 'true'", false), ("false == ''", true), ("'abc' == 'ABC'", true), ("'É' == 'é'", true),
        ("'ß' == 'SS'", false), ("env.HEX == 255", true), ("env.WORD == 10", false), ("env.WORD != 10", true),
        ("NaN == NaN", false), ("NaN != NaN", true), ("null == null", true), ("list == list", true),
        ("github == github", true), ("github.Mixed == GITHUB.mixed", true), ("list == fruits", false),
        ("fromJSON('[1]') == fromJSON('[1]')", false), ("list == 0", false), ("'Infinity' == Infinity", true),
        ("'1e3' == 1000", true), ("'nan' == 'NaN'", true), ("'inf' == Infinity", false),
        ("env.TEN > 9", true), ("env.TEN > '9'", false), ("'b' > 'A'", true), ("'a' < 'B'", true),
        ("'_' > 'z'", true), ("null >= null", true), ("null < 1", true), ("true > false", true),
        ("'ten' < 11", false), ("'ten' >= 11", false), ("list < 1", false), ("NaN <= NaN", false),
        ("1 < 2 == true", true), ("1 == 1 != false", true), ("!0 == true", true), ("!(0 == 1)", true),
        ("!'' && !null", true), ("!list", false), ("!!'a'", true),
    ])
    func `comparison`(source: String, expected: Bool) throws {
        #expect(try evaluate(source) == .bool(expected))
    }

    @Test(arguments: [
        ("github.nothing || 'default'", Value.string("default")), ("'a' && 'b'", .string("b")),
        ("'' && 'b'", .string("")), ("false || 0 || ''", .string("")), ("1 && 2 && 3", .number(3)),
        ("true || unknown_name", .bool(true)), ("false && unknown_name", .bool(false)),
        ("true && 'x' || 'y'", .string("x")), ("false && 'x' || 'y'", .string("y")),
        ("false || true && false", .bool(false)), ("(false || true) && true", .bool(true)),
    ])
    func `and and or give back an operand and look no further`(source: String, expected: Value) throws {
        #expect(try evaluate(source) == expected)
    }

    @Test(arguments: [
        ("1 + 2 * 3", 7.0), ("(1 + 2) * 3", 9), ("10 - 4 - 3", 3), ("8 / 4 / 2", 1), ("-2 * -3", 6), ("2 -1", 1),
        ("2-1", 1), ("- auc + 1", 0.089), ("-(1 + 1)", -2), ("champion.auc - auc", 0.004), ("latency-ms - 2", 10),
        ("champion.f-1 - 1", -0.5), ("env.TEN / 4", 2.5), ("1 / 0", .infinity), ("1e2 - 1", 99),
        ("true + true", 2), ("fruits[0].quantity*3", 3),
    ])
    func `arithmetic`(source: String, expected: Double) throws {
        guard case .number(let number) = try evaluate(source) else {
            Issue.record("\(source) is no number")
            return
        }
        #expect(number == expected || abs(number - expected) < 1e-12)
    }

    @Test(arguments: [
        ("contains('Hello world', 'LLO')", Value.bool(true)), ("contains(list, 'two')", .bool(true)),
        ("contains(list, 'tw')", .bool(false)), ("contains(list, 1)", .bool(true)),
        ("contains('abc', '')", .bool(true)),
        ("contains(github, 'ref')", .bool(false)), ("contains(fruits.*.name, 'Pear')", .bool(true)),
        ("contains(fromJSON('[\"push\", \"pull_request\"]'), github.event_name)", .bool(true)),
        ("startsWith('Hello world', 'HE')", .bool(true)), ("startsWith('Hello', 'ello')", .bool(false)),
        ("endsWith('Hello world', 'LD')", .bool(true)), ("endsWith(list, 'x')", .bool(false)),
        ("startsWith(github.ref, 'refs/heads/main')", .bool(true)), ("startsWith(123, 12)", .bool(true)),
        ("format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat')", .string("Hello Mona the Octocat")),
        ("format('{{Hello {0} {1}!}}', 'a', 1.50)", .string("{Hello a 1.5!}")), ("format('{0}{0}', null)", .string("")),
        ("join(fruits.*.name, ', ')", .string("apple, orange, pear")), ("join(list)", .string("1,Two,true,")),
        ("join('alone', '-')", .string("alone")), ("JOIN(list, null)", .string("1Twotrue")),
        ("toJSON(list)", .string("[\n  1,\n  \"Two\",\n  true,\n  null\n]")),
        ("toJSON(github.Mixed)", .string("{\n  \"Case\": \"yes\"\n}")), ("toJSON('a\"b')", .string("\"a\\\"b\"")),
        ("toJSON(null)", .string("null")), ("fromJSON('{\"a\": [1, {\"b\": true}]}').a[1].b", .bool(true)),
        ("fromJSON('\"text\"')", .string("text")), ("fromJSON(toJSON(fruits)).*.name == 0", .bool(false)),
        ("fromJSON(' 1.5e1 ')", .number(15)),
    ])
    func `functions`(source: String, expected: Value) throws {
        #expect(try evaluate(source) == expected)
    }

    @Test(arguments: [
        (Value.null, "", false), (.bool(true), "true", true), (.bool(false), "false", false), (.number(0), "0", false),
        (.number(-0.0), "-0", false), (.number(.nan), "NaN", false), (.number(-.infinity), "-Infinity", true),
        (.number(0.1 + 0.2), "0.3", true), (.number(1e15), "1E+15", true),
        (.number(123456789012345), "123456789012345", true),
        (.number(1e-5), "1E-05", true), (.number(42), "42", true), (.string(""), "", false), (.string("0"), "0", true),
        (.string("false"), "false", true), (.array([]), "Array", true), (.object([:]), "Object", true),
    ])
    func `text and truth of values`(value: Value, text: String, isTruthy: Bool) {
        #expect(value.text == text)
        #expect(value.isTruthy == isTruthy)
    }
}

@Suite struct ContextTests {
    @Test(arguments: [
        ("success()", [true, false, false]), ("failure()", [false, true, false]),
        ("cancelled()", [false, false, true]),
        ("always()", [true, true, true]), ("!Cancelled()", [true, true, false]),
    ])
    func `status functions answer from the context`(source: String, expected: [Bool]) throws {
        let expression = try Expression(parsing: source)
        #expect(expression.usesStatus)
        for (index, expected) in expected.enumerated() {
            let status = Context.Status(isSuccess: index == 0, isFailure: index == 1, isCancelled: index == 2)
            #expect(try expression.evaluate(in: Context(values: [:], status: status)) == .bool(expected))
        }
    }

    @Test func `a context is looked up only when needed, and once`() throws {
        let asked = Mutex<[String]>([])
        let context = Context { name in
            asked.withLock { $0.append(name) }
            return name == "a" ? .object(["x": .number(1)]) : .null
        }
        #expect(try Expression(parsing: "a.x + A.x == 2 || b.y").evaluate(in: context) == .bool(true))
        #expect(asked.withLock { $0 } == ["a"])
        _ = try Template(parsing: "${{ a.x }} ${{ a.x }}").render(in: context)
        #expect(asked.withLock { $0 } == ["a", "a"])
    }

    @Test func `what a context throws passes through`() throws {
        struct Locked: Error {}
        let context = Context { _ in throw Locked() }
        let expression = try Expression(parsing: "secrets.token")
        #expect(throws: Locked.self) { try expression.evaluate(in: context) }
    }

    @Test func `files are hashed by the context`() throws {
        let context = Context(values: ["dir": .string("src")], hashFiles: { $0.joined(separator: "|") })
        let expression = try Expression(parsing: "hashFiles('**/*.lock', format('{0}/**', dir))")
        #expect(try expression.evaluate(in: context) == .string("**/*.lock|src/**"))
    }

    @Test(arguments: [
        ("auc - champion.auc >= -0.005", true), ("auc - champion.auc >= -0.003", false),
        ("bias.SEX.tpr_gap <= 0.10", true),
        ("bias.sex.tpr_gap <= 0.10 && auc > 0.9", true), ("auc >= 0.95", false), ("champion.f-1 == null", false),
    ])
    func `gates measure metrics`(source: String, expected: Bool) throws {
        #expect(try evaluate(source, missing: .error).isTruthy == expected)
    }

    @Test(arguments: [
        ("bias.AGE.tpr_gap <= 0.10", ExpressionError.Code.missing), ("auc - champion.aucc >= -0.005", .missing),
        ("f1 > 0.5", .unknownName), ("list[3] <= 1", .missing), ("list[3] + 1 <= 1", .missing),
        ("list[9] == null", .missing),
    ])
    func `a gate whose metric is absent is an error, never a pass`(source: String, expected: ExpressionError.Code) {
        let error = #expect(throws: ExpressionError.self) { try evaluate(source, missing: .error) }
        #expect(error?.code == expected)
    }

    @Test(arguments: ["nothing.x <= 0.1", "champion.nothing - auc <= 0", "auc - champion.nothing >= 0"])
    func `arithmetic with an absent value makes every comparison fail`(source: String) throws {
        let values = sample.merging(["nothing": .null]) { first, _ in first }
        let result = try Expression(parsing: source).evaluate(in: Context(values: values))
        // Without arithmetic GitHub's rule stands: null is 0.
        #expect(result == .bool(source.hasPrefix("nothing")))
    }

    @Test func `references are the context paths, where they begin`() throws {
        let expression = try Expression(
            parsing: "needs.build.outputs['digest'] == matrix.os && contains(steps.*.outcome, env[github.ref].x)")
        #expect(
            expression.references.map(\.description) == [
                "needs.build.outputs.digest", "matrix.os", "steps.*.outcome", "env", "github.ref",
            ])
        #expect(expression.references.map(\.position.column) == [1, 34, 56, 73, 77])
        #expect(!expression.usesStatus)
    }

    @Test(arguments: [
        "", "plain", "$", "{", "it's ${{ secrets.A }}", "'' && secrets.A }} ${{ '", "}}${{", "\u{600}${{ secrets.A }}",
        "\u{301}{ mark", "\u{200D}'{", "'\u{301} && secrets.A || '{", "{\r\n}\r", "{🧑‍🧑‍🧒‍🧒}",
        "$" + String(repeating: "a", count: 4_094) + "\u{600}\n && secrets.A }} x",
        "{" + String(repeating: "'", count: 9_000), "{" + String(repeating: "🧑‍🧑‍🧒‍🧒", count: 3_000),
    ])
    func `a value that was quoted is itself again, whatever stands beside it`(value: String) throws {
        let context = Context(values: ["secrets": .object(["A": .string("canary")]), "os": .string("Linux")])
        #expect(try Template(parsing: Template.quoting(value)).render(in: context) == value)
        for glue in ["", "$", "\u{600}", "\u{301}", "{"] {
            let text =
                "${{ os }}\(glue)\(Template.quoting(value))\(Template.quoting("\u{600}$"))\(Template.quoting(value))${{ os }}"
            let found = try Template(parsing: text).render(in: context)
            #expect(Array(found.utf8) == Array("Linux\(glue)\(value)\u{600}$\(value)Linux".utf8))
        }
    }
}
