import Expressions
import Manifests
import Testing

@Suite struct ExpressionErrorTests {
    @Test(arguments: [
        ("", ExpressionError.Code.syntax, 1, "an expression is expected"),
        ("   ", .syntax, 4, "an expression is expected"),
        ("a ==", .syntax, 5, "unexpected \"the end\""), ("a == == b", .syntax, 6, "unexpected \"==\""),
        ("(a", .syntax, 3, "\")\" is expected, not \"the end\""), ("a)", .syntax, 2, "unexpected \")\""),
        ("a[0", .syntax, 4, "\"]\" is expected, not \"the end\""), ("a.", .syntax, 3, "unexpected \"the end\""),
        ("a.'x'", .syntax, 3, "unexpected \"'x'\""), ("a b", .syntax, 3, "unexpected \"b\""),
        ("a = b", .syntax, 3, "unexpected \"=\""), ("a & b", .syntax, 3, "unexpected \"&\""),
        ("\"x\"", .syntax, 1, "unexpected \"\"\""), ("'open", .syntax, 1, "a string without an end"),
        ("1.2.3", .syntax, 1, "\"1.2.3\" is not a number"), ("12abc", .syntax, 1, "\"12abc\" is not a number"),
        ("a == 🦊", .syntax, 6, "unexpected \"🦊\""), ("contains('a',)", .syntax, 14, "unexpected \")\""),
        ("toUpper('a')", .unknownFunction, 1, "no function \"toUpper\""),
        ("true && contains('a')", .wrongArguments, 9, "contains() takes 2 arguments, not 1"),
        ("always(1)", .wrongArguments, 1, "always() takes no arguments, not 1"),
        ("join()", .wrongArguments, 1, "join() takes 1 to 2 arguments, not 0"),
    ])
    func `a mistake is told with its column`(
        source: String, code: ExpressionError.Code, column: Int, message: String
    ) {
        let error = #expect(throws: ExpressionError.self) { _ = try Expression(parsing: source) }
        #expect(error?.code == code)
        #expect(error?.position == Position(line: 1, column: column))
        #expect(error?.message == message)
    }

    @Test(arguments: [
        ("1 == nobody.x", ExpressionError.Code.unknownName, 6), ("auc-champion.auc", .unknownName, 1),
        ("format('{1}', 1)", .invalidValue, 1), ("format('{', 1)", .invalidValue, 1), ("format('}')", .invalidValue, 1),
        ("format('{x}', 1)", .invalidValue, 1), ("1 && fromJSON('{')", .invalidValue, 6),
        ("fromJSON('')", .invalidValue, 1),
        ("success()", .wrongArguments, 1), ("hashFiles('x')", .wrongArguments, 1),
    ])
    func `a mistake found while evaluating has its column too`(
        source: String, code: ExpressionError.Code, column: Int
    ) {
        let error = #expect(throws: ExpressionError.self) { _ = try evaluate(source) }
        #expect(error?.code == code)
        #expect(error?.position == Position(line: 1, column: column))
    }

    @Test func `a glued subtraction is explained`() {
        let error = #expect(throws: ExpressionError.self) { _ = try evaluate("auc-champion.auc") }
        #expect(error?.message == "no value \"auc-champion\"")
        #expect(error?.hint?.contains("blanks") == true)
    }

    @Test func `lines are counted`() {
        let error = #expect(throws: ExpressionError.self) { _ = try Expression(parsing: "true &&\n  false ||\r\n  ?") }
        #expect(error?.position == Position(line: 3, column: 3))
        #expect(error?.description == "unexpected \"?\", at line 3, column 3")
    }
}

@Suite struct LimitTests {
    private func repeated(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }

    @Test(arguments: ["!", "(", "-", "a[", "toJSON(", "1 + (", "a.b["])
    func `nesting has an end`(opening: String) {
        let error = #expect(throws: ExpressionError.self) {
            _ = try Expression(parsing: String(repeating: opening, count: 5000))
        }
        #expect(error?.code == .limit)
    }

    @Test func `long chains are bounded, wide ones are not nested`() throws {
        #expect(throws: ExpressionError.self) { _ = try Expression(parsing: "a" + repeated(".b", 60)) }
        #expect(throws: ExpressionError.self) { _ = try Expression(parsing: "1" + repeated(" + 1", 60)) }
        let wide = try Expression(parsing: "false" + repeated(" || false", 1000) + " || 'end'")
        #expect(try wide.evaluate(in: Context(values: [:])) == .string("end"))
        #expect(try evaluate(repeated("(", 45) + "1" + repeated(")", 45)) == .number(1))
    }

    @Test func `the source is bounded at 21,000 characters, as GitHub has it`() throws {
        let fits = "'" + repeated("ü", ExpressionLimits.sourceCharacters - 2) + "'"
        _ = try Expression(parsing: fits)
        let error = #expect(throws: ExpressionError.self) { _ = try Expression(parsing: fits + " ") }
        #expect(error?.code == .limit)
        #expect(error?.message == "the expression is longer than 21000 characters")
        let huge = #expect(throws: ExpressionError.self) { _ = try Expression(parsing: repeated("(", 5 << 20)) }
        #expect(huge?.code == .limit)
        let text = #expect(throws: ExpressionError.self) { _ = try Template(parsing: repeated("x", 5 << 20)) }
        #expect(text?.code == .limit)
    }

    @Test func `work and results are bounded`() throws {
        let items = Value.array(Array(repeating: .number(1), count: 60_000))
        let context = Context(values: ["items": items, "big": .string(repeated("x", 1 << 20))])
        for source in [
            "items.* == 1 || items.* == 2", "contains(items, 2) || contains(items, 3)",
            "join(items, big)", "format('\(repeated("{0}", 900))', big)", "format('{0}{0}{0}{0}{0}', big)",
        ] {
            let error = #expect(throws: ExpressionError.self) {
                _ = try Expression(parsing: source).evaluate(in: context)
            }
            #expect(error?.code == .limit, "\(source.prefix(40))")
        }
    }
}

@Suite struct TemplateTests {
    @Test(arguments: [
        ("plain text", Value.string("plain text")), ("", .string("")), ("${{ list[0] }}", .number(1)),
        ("${{ github.nothing }}", .null), (" ${{ list[0] }}", .string(" 1")),
        ("${{ list[0] }}${{ list[0] }}", .string("11")),
        ("on ${{ github.ref }} by ${{ env.TEN }}.", .string("on refs/heads/Main by 10.")),
        ("${{ 'a }} b' }}", .string("a }} b")), ("${{ '${{' }} x", .string("${{ x")),
        ("$x {{ y }} }}", .string("$x {{ y }} }}")),
        ("${{ format('{{{0}}}', 1) }}", .string("{1}")), ("${{list[1]}}", .string("Two")),
        ("a${{ null }}b${{ true }}", .string("abtrue")),
    ])
    func `a template renders, and a single expression keeps its type`(source: String, expected: Value) throws {
        let template = try Template(parsing: source)
        #expect(try template.evaluate(in: Context(values: sample)) == expected)
        #expect(try template.render(in: Context(values: sample)) == expected.text)
        #expect(template.isPlain == !(source.contains("${{")))
    }

    @Test(arguments: [
        ("abc ${{ x", 1, 5), ("abc ${{ 'x }}", 1, 5), ("a: 1\nb: ${{ 1 == }}", 2, 13), ("é ${{ ) }}", 1, 7),
        ("${{ }}", 1, 5),
    ])
    func `mistakes are placed in the whole text`(source: String, line: Int, column: Int) {
        let error = #expect(throws: ExpressionError.self) { _ = try Template(parsing: source) }
        #expect(error?.position == Position(line: line, column: column))
    }

    @Test func `references of all expressions are listed`() throws {
        let template = try Template(parsing: "${{ vars.a }} and ${{ needs.b.result }}")
        #expect(template.references.map(\.description) == ["vars.a", "needs.b.result"])
        #expect(template.references.map(\.position.column) == [5, 23])
    }

    @Test func `values come from JSON and go back`() throws {
        let json = try JSONParser.parse(#"{"a": [1, 2.5, "x", true, null], "b": {"c": {}}}"#)
        #expect(Value(json).jsonValue == json)
    }
}
