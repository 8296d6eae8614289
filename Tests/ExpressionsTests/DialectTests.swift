import Expressions
import Manifests
import Testing

// Every rule of the language with the values at its edges. The answers are worked out by hand from GitHub's reference
// ("Evaluate expressions in workflows and actions") and from the rules in the source of its runner: conversion to numbers
// as .NET reads them, text of numbers as .NET's "G15", comparison as ECMAScript's abstract equality with text compared
// without regard to case, arrays and objects compared by identity.

/// A value in few characters: text in single quotes, lists in [], members in {} in their order.
private func shown(_ value: Value) -> String {
    switch value {
    case .null: "null"
    case .string(let text): "'\(text)'"
    case .array(let items): "[" + items.map(shown).joined(separator: ",") + "]"
    case .object(let members): "{" + members.map { "\($0.key):\(shown($0.value))" }.joined(separator: ",") + "}"
    case .bool, .number: value.text
    }
}

private let world: [String: Value] = {
    let json = """
        {"event": {"action": "opened", "number": 7, "labels": [{"name": "bug", "color": "f00"}, {"name": "help wanted"}],
                   "draft": false, "body": null, "zeta": 1, "alpha": 2},
         "needs": {"build": {"result": "success", "outputs": {"tag": "v1.2", "count": "3"}},
                   "test": {"result": "failure", "outputs": {}}, "lint": {"result": "skipped"}},
         "matrix": {"os": "debian12", "node": 20, "include-extra": true},
         "nested": {"a": {"x": [1, 2]}, "b": {"x": [3]}, "c": {"y": [4]}, "d": 5},
         "table": [[1, 2], [3, 4], "no", {"k": 5}],
         "empty": {"list": [], "object": {}, "text": ""}, "env": {"N": "42", "FLAG": "true", "Path": "/bin"},
         "words": ["alpha", "Beta", "GAMMA"], "mixed": [0, "", null, false, "x", 1.5]}
        """
    guard let object = try? JSONParser.parse(json).object else { return [:] }  // then every test fails
    return object.reduce(into: [:]) { $0[$1.key] = Value($1.value) }
}()

private func check(_ source: String, _ expected: String) throws {
    let status = Context.Status(isSuccess: true)
    let value = try Expression(parsing: source).evaluate(in: Context(values: world, status: status))
    #expect(shown(value) == expected, "\(source)")
}

@Suite struct DialectTests {
    @Test(arguments: [
        ("null", "null"), ("true", "true"), ("false", "false"), ("0", "0"), ("-0", "-0"), ("+1", "1"), ("1.", "1"),
        (".5", "0.5"), ("-.5", "-0.5"), ("-99.9", "-99.9"), ("711", "711"), ("1e3", "1000"), ("1E+3", "1000"),
        ("-2.99e-2", "-0.0299"), ("0xff", "255"), ("0xFF", "255"), ("0xFFFFFFFF", "-1"), ("0x80000000", "-2147483648"),
        ("0x7fffffff", "2147483647"), ("0o17", "15"), ("0o0", "0"), ("Infinity", "Infinity"), ("NaN", "NaN"),
        ("-Infinity", "-Infinity"), ("''", "''"), ("'x'", "'x'"), ("'It''s'", "'It's'"), ("''''", "'''"),
        ("'a\"b'", "'a\"b'"), ("'\\n'", "'\\n'"), ("' '", "' '"), ("'üñî 🦊'", "'üñî 🦊'"), ("('x')", "'x'"),
        ("((1))", "1"), (" \t\n1\r\n ", "1"), ("'null'", "'null'"), ("'true'", "'true'"),
    ])
    func `literals`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        "Null == 1", "TRUE == 1", "False == 1", "nan == 1", "infinity == 1",
    ])
    func `literals have one spelling: in another they are names`(source: String) {
        let error = #expect(throws: ExpressionError.self) { try check(source, "") }
        #expect(error?.code == .unknownName)
    }

    @Test(arguments: [
        ("event.action", "'opened'"), ("EVENT.Action", "'opened'"), ("event['ACTION']", "'opened'"),
        ("event['act' ]", "null"), ("event[format('{0}er', 'numb')]", "7"), ("event.labels[0].name", "'bug'"),
        ("event.labels[1]['name']", "'help wanted'"), ("event.labels['0'].name", "'bug'"),
        ("event.labels[0.9].name", "'bug'"), ("event.labels[true].name", "'help wanted'"),
        ("event.labels[false].name", "'bug'"), ("event.labels[null].name", "'bug'"), ("event.labels[''].name", "'bug'"),
        ("event.labels['x']", "null"), ("event.labels[2]", "null"), ("event.labels[-1]", "null"),
        ("event.labels[1e9]", "null"), ("event.labels[NaN]", "null"), ("event.labels[Infinity]", "null"),
        ("event.labels[event]", "null"), ("event[event]", "null"), ("event[null]", "null"), ("event[7]", "null"),
        ("event.body", "null"), ("event.body.deep.er", "null"), ("event.action.x", "null"), ("event.number[0]", "null"),
        ("matrix.include-extra", "true"), ("event.labels.length", "null"), ("env.PATH", "'/bin'"),
        ("words[1]", "'Beta'"), ("table[1][0]", "3"), ("table[3].k", "5"), ("table[2][0]", "null"),
        ("event.true", "null"), ("event.null", "null"), ("(event).action", "'opened'"),
        ("fromJSON('[5,6]')[1]", "6"), ("(event || env).action", "'opened'"),
        ("needs[event.nothing || 'build'].result", "'success'"), ("event . action", "'opened'"),
        ("event [ 'action' ]", "'opened'"), ("empty.text", "''"), ("empty.list[0]", "null"),
    ])
    func `access`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        ("event.labels.*.name", "['bug','help wanted']"), ("event.labels[*].name", "['bug','help wanted']"),
        ("event.labels.*.color", "['f00']"), ("event.labels.*.nothing", "[]"),
        ("event.labels.*['NAME']", "['bug','help wanted']"),
        ("needs.*.result", "['success','failure','skipped']"), ("needs.*.outputs.tag", "['v1.2']"),
        ("needs.*.outputs.*", "['v1.2','3']"), ("nested.*.x", "[[1,2],[3]]"), ("nested.*.x.*", "[1,2,3]"),
        ("nested.*.x[0]", "[1,3]"), ("nested.*.x[1]", "[2]"), ("nested.*.*", "[[1,2],[3],[4]]"),
        ("nested.*.*.*", "[1,2,3,4]"), ("table.*[0]", "[1,3]"), ("table.*.*", "[1,2,3,4,5]"), ("table.*.k", "[5]"),
        ("table.*['1']", "[2,4]"), ("table.*['x']", "[]"), ("words.*", "['alpha','Beta','GAMMA']"), ("words.*.x", "[]"),
        ("empty.list.*", "[]"), ("empty.object.*", "[]"), ("empty.list.*.x", "[]"), ("event.action.*", "null"),
        ("event.nothing.*", "null"), ("event.nothing.*.name", "null"), ("event.number.*.*", "null"),
        ("contains(needs.*.result, 'failure')", "true"), ("contains(needs.*.result, 'FAILURE')", "true"),
        ("contains(needs.*.result, 'cancelled')", "false"), ("join(event.labels.*.name, ', ')", "'bug, help wanted'"),
        ("event.*", "['opened',7,[{name:'bug',color:'f00'},{name:'help wanted'}],false,null,1,2]"),
        ("toJSON(words.*)", "'[\n  \"alpha\",\n  \"Beta\",\n  \"GAMMA\"\n]'"),
    ])
    func `filters`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        // The same kind.
        ("null == null", "true"), ("true == true", "true"), ("true == false", "false"), ("1 == 1.0", "true"),
        ("1 == 2", "false"), ("0 == -0", "true"), ("NaN == NaN", "false"), ("NaN != NaN", "true"),
        ("Infinity == Infinity", "true"), ("Infinity == -Infinity", "false"), ("'a' == 'A'", "true"),
        ("'a' == 'b'", "false"), ("'' == ''", "true"), ("' a' == 'a'", "false"), ("'é' == 'É'", "true"),
        ("'ß' == 'ẞ'", "false"), ("'1' == '1.0'", "false"), ("'abc' != 'ABC'", "false"),
        // Null is 0.
        ("null == 0", "true"), ("null == ''", "true"), ("null == '0'", "true"), ("null == false", "true"),
        ("null == 'null'", "false"), ("null == true", "false"), ("null == ' '", "true"), ("null != 1", "true"),
        ("event.nothing == ''", "true"), ("event.body == null", "true"),
        // Booleans are 0 and 1.
        ("true == 1", "true"), ("true == 2", "false"), ("false == 0", "true"), ("true == '1'", "true"),
        ("true == 'true'", "false"), ("false == 'false'", "false"), ("false == ''", "true"), ("true == NaN", "false"),
        ("env.FLAG == true", "false"), ("env.FLAG == 'true'", "true"), ("matrix.include-extra == true", "true"),
        // Text is parsed.
        ("1 == '1'", "true"), ("1 == ' 1 '", "true"), ("1 == '1.0'", "true"), ("1000 == '1e3'", "true"),
        ("255 == '0xff'", "true"), ("255 == '0xFF'", "true"), ("255 == '0XFF'", "false"),
        ("-1 == '0xffffffff'", "true"),
        ("15 == '0o17'", "true"), ("8 == '0o8'", "false"), ("1 == '1x'", "false"), ("1 == 'one'", "false"),
        ("0 == ''", "true"), ("0 == ' '", "true"), ("0 == 'x'", "false"), ("1 == '+1'", "true"), ("-1 == '-1'", "true"),
        ("0.5 == '.5'", "true"), ("1 == '1.'", "true"), ("0 == '.'", "false"), ("1 == '1e'", "false"),
        ("Infinity == 'Infinity'", "true"), ("Infinity == 'infinity'", "true"), ("-Infinity == '-Infinity'", "true"),
        ("Infinity == 'inf'", "false"), ("Infinity == '1e999'", "true"), ("0 == '1e-999'", "true"),
        ("1 == '1,0'", "false"), ("1 == '1_0'", "false"), ("16 == '0x10p0'", "false"), ("env.N == 42", "true"),
        ("42 == env.N", "true"), ("matrix.node == '20'", "true"), ("256 == '0x0000000100'", "true"),
        ("0 == '0x100000000'", "false"),
        // Arrays and objects: identity among themselves, NaN beside anything else.
        ("event == event", "true"), ("event == EVENT", "true"), ("event == env", "false"), ("event != env", "true"),
        ("event.labels == event['labels']", "true"), ("event.labels[0] == event.labels['0']", "true"),
        ("event.labels[0] == event.labels[1]", "false"), ("(event || env) == event", "true"),
        ("(false || event.labels) == event.labels", "true"), ("(event && env) == env", "true"),
        ("event.labels.* == event.labels.*", "false"), ("fromJSON('{}') == fromJSON('{}')", "false"),
        ("empty.list == 0", "false"), ("empty.list == ''", "false"), ("empty.object == null", "false"),
        ("event == 'Object'", "false"), ("words == 'Array'", "false"), ("words != NaN", "true"),
        ("event == true", "false"),
        ("contains(event.labels, event.labels[1])", "true"), ("contains(event.labels, event)", "false"),
        ("contains(event.labels.*, event.labels[0])", "true"),
    ])
    func `equality`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        ("1 < 2", "true"), ("2 < 1", "false"), ("1 <= 1", "true"), ("1 >= 1", "true"), ("1 > 1", "false"),
        ("-1 < 0", "true"), ("'a' < 'b'", "true"), ("'a' < 'B'", "true"), ("'B' > 'a'", "true"), ("'a' >= 'A'", "true"),
        ("'a' <= 'A'", "true"), ("'10' < '9'", "true"), ("10 < '9'", "false"), ("'10' < 9", "false"),
        ("'Z' < '_'", "true"), ("'a' < '_'", "true"), ("'' < 'a'", "true"), ("'ab' > 'a'", "true"),
        ("null < 1", "true"),
        ("null >= 0", "true"), ("null <= null", "true"), ("null < null", "false"), ("true > false", "true"),
        ("true >= true", "true"), ("false < true", "true"), ("true < 2", "true"), ("'x' < 1", "false"),
        ("'x' > 1", "false"), ("'x' >= 1", "false"), ("NaN < 1", "false"), ("NaN >= NaN", "false"),
        ("Infinity > 1e308", "true"), ("-Infinity < -1e308", "true"), ("event < 1", "false"), ("event >= 1", "false"),
        ("event >= event", "true"), ("event > event", "false"), ("words <= words", "true"), ("env.N > 41", "true"),
        ("needs.build.outputs.count >= 3", "true"), ("event.number < '08'", "true"),
    ])
    func `order`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        ("!true", "false"), ("!false", "true"), ("!null", "true"), ("!0", "true"), ("!-0", "true"), ("!NaN", "true"),
        ("!''", "true"), ("!'0'", "false"), ("!'false'", "false"), ("!' '", "false"), ("!1", "false"), ("!-1", "false"),
        ("!Infinity", "false"), ("!event", "false"), ("!empty.list", "false"), ("!empty.object", "false"),
        ("!!'x'", "true"), ("!!event.nothing", "false"), ("true && 'x'", "'x'"), ("'x' && 'y' && 'z'", "'z'"),
        ("'x' && 0 && 'z'", "0"), ("null && 'z'", "null"), ("'' || 'd'", "'d'"), ("0 || null", "null"),
        ("null || 0", "0"), ("'a' || 'b'", "'a'"), ("false || '' || 0 || null || 'last'", "'last'"),
        ("event.nothing || event.action", "'opened'"), ("event.draft && 'draft' || 'ready'", "'ready'"),
        ("event.number && event.labels", "[{name:'bug',color:'f00'},{name:'help wanted'}]"),
        ("true || nobody", "true"), ("false && nobody", "false"), ("'x' || fromJSON('{')", "'x'"),
        ("null && fromJSON('{')", "null"), ("NaN || 1", "1"), ("NaN && 1", "NaN"),
        // Precedence: ! before order, order before equality, && before ||.
        ("!1 == 0", "true"), ("!(1 == 0)", "true"), ("1 < 2 == true", "true"), ("1 == 1 == 1", "true"),
        ("2 == 2 == 2", "false"), ("3 > 2 > 1", "false"), ("true || false && false", "true"),
        ("(true || false) && false", "false"), ("1 == 2 || 3 == 3", "true"), ("1 == 1 && 2 == 3 || 4 == 4", "true"),
        ("!false && !false", "true"), ("!event.draft && event.number == 7", "true"), ("1 != 2 != 3", "true"),
    ])
    func `truth, and, or, not`(source: String, expected: String) throws { try check(source, expected) }
}

@Suite struct FunctionDialectTests {
    @Test(arguments: [
        ("contains('Hello', 'ELL')", "true"), ("contains('Hello', '')", "true"), ("contains('', '')", "true"),
        ("contains('', 'a')", "false"), ("contains(null, '')", "true"), ("contains(1234, 23)", "true"),
        ("contains(true, 'RU')", "true"), ("contains(words, 'beta')", "true"), ("contains(words, 'bet')", "false"),
        ("contains(mixed, 0)", "true"), ("contains(mixed, '1.5')", "true"), ("contains(mixed, 'y')", "false"),
        ("contains(mixed, null)", "true"), ("contains(empty.list, null)", "false"),
        ("contains(event, 'action')", "false"),
        ("contains('x', event)", "false"), ("contains(fromJSON('[\"a\", \"b\"]'), 'B')", "true"),
        ("CONTAINS('a', 'A')", "true"), ("contains(empty.list, fromJSON('{'))", "false"),
        ("startsWith('Hello', 'he')", "true"), ("startsWith('Hello', '')", "true"),
        ("startsWith('He', 'Hello')", "false"),
        ("startsWith(1234, '12')", "true"), ("startsWith(null, '')", "true"), ("startsWith(words, 'a')", "false"),
        ("startsWith(words, fromJSON('1'))", "false"), ("startsWith('x', event)", "false"),
        ("endsWith('Hello', 'LO')", "true"), ("endsWith('Hello', '')", "true"),
        ("endsWith('Hello', 'Hello!')", "false"),
        ("endsWith(true, 'UE')", "true"), ("endsWith(event, '')", "false"), ("endsWith('ÄÖ', 'ö')", "true"),
        ("startsWith('refs/tags/v1', 'refs/tags/')", "true"),
    ])
    func `looking into text and lists`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        ("format('a')", "'a'"), ("format('{0}', 1)", "'1'"), ("format('{1}{0}', 'a', 'b')", "'ba'"),
        ("format('{0} {0}', 'a')", "'a a'"), ("format('{{}}')", "'{}'"), ("format('{{0}}', 1)", "'{0}'"),
        ("format('{{{0}}}', 1)", "'{1}'"), ("format('{0}', null)", "''"), ("format('{0}', true)", "'true'"),
        ("format('{0}', 1.50)", "'1.5'"), ("format('{0}', event)", "'Object'"), ("format('{0}', words)", "'Array'"),
        ("format(12)", "'12'"), ("format('{0}', '{0}')", "'{0}'"), ("format('{00}', 'x')", "'x'"),
        ("format('{0}', 'a', fromJSON('{'))", "'a'"), ("format('{0}-{1}', env.n, matrix.os)", "'42-debian12'"),
        ("join(words)", "'alpha,Beta,GAMMA'"), ("join(words, '')", "'alphaBetaGAMMA'"),
        ("join(words, ' | ')", "'alpha | Beta | GAMMA'"),
        ("join(words, 1)", "'alpha1Beta1GAMMA'"), ("join(words, null)", "'alphaBetaGAMMA'"),
        ("join(words, event)", "'alpha,Beta,GAMMA'"),
        ("join(empty.list, ',')", "''"), ("join('x', ',')", "'x'"), ("join(1.5)", "'1.5'"), ("join(null)", "''"),
        ("join(event)", "''"), ("join(table, ';')", "'Array;Array;no;Object'"), ("join(mixed)", "'0,,,false,x,1.5'"),
        ("join(fromJSON('[\"a\"]'), fromJSON('{'))", "'a'"),
        ("case(true, 'a', 'b')", "'a'"), ("case(false, 'a', 'b')", "'b'"),
        ("case(1 == 2, 'a', 1 == 1, 'b', 'c')", "'b'"),
        ("case(true, 'a', fromJSON('{'))", "'a'"), ("case(event.number > 5, event.labels, null)[0].name", "'bug'"),
    ])
    func `making text`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        ("toJSON(null)", "null"), ("toJSON(true)", "true"), ("toJSON(1.50)", "1.5"), ("toJSON(1e20)", "1E+20"),
        ("toJSON(NaN)", "NaN"), ("toJSON('a\"b\\c')", #""a\"b\\c""#), ("toJSON('')", #""""#),
        ("toJSON(fromJSON('\"a\\tb\\nc\"'))", #""a\tb\nc""#), ("toJSON(empty.list)", "[]"),
        ("toJSON(empty.object)", "{}"), ("toJSON(fromJSON('[[]]'))", "[\n  []\n]"),
        ("toJSON(empty)", "{\n  \"list\": [],\n  \"object\": {},\n  \"text\": \"\"\n}"),
        ("toJSON(matrix)", "{\n  \"os\": \"debian12\",\n  \"node\": 20,\n  \"include-extra\": true\n}"),
        (
            "toJSON(table)",
            "[\n  [\n    1,\n    2\n  ],\n  [\n    3,\n    4\n  ],\n  \"no\",\n  {\n    \"k\": 5\n  }\n]"
        ),
        ("ToJson(event.zeta)", "1"),
    ])
    func `JSON is written with two spaces a level and members in their order`(source: String, expected: String) throws {
        let context = Context(values: world)
        #expect(try Expression(parsing: source).evaluate(in: context) == .string(expected))
    }

    @Test(arguments: [
        ("fromJSON('1')", "1"), ("fromJSON('true')", "true"), ("fromJSON('null')", "null"),
        ("fromJSON('\"x\"')", "'x'"),
        ("fromJSON('[1,[2]]')", "[1,[2]]"), ("fromJSON('{\"b\":1,\"a\":2}')", "{b:1,a:2}"), ("fromJSON(true)", "true"),
        ("fromJSON(1.5)", "1.5"), ("fromJSON(env.N) + 1", "43"), ("fromJSON(env.FLAG) == true", "true"),
        ("fromJSON(toJSON(matrix)).os", "'debian12'"),
        ("fromJSON(toJSON(event)).labels.*.name", "['bug','help wanted']"),
        ("fromJSON(' [ ] ')", "[]"), ("FROMJSON('\"\\u00e9\"')", "'é'"),
    ])
    func `JSON is read`(source: String, expected: String) throws { try check(source, expected) }

    @Test(arguments: [
        "fromJSON('')", "fromJSON(null)", "fromJSON('{')", "fromJSON('nope')", "fromJSON('[1] 2')", "format('{')",
        "format('}')", "format('{0')", "format('{a}', 1)", "format('{ 0}', 1)", "format('{0 }', 1)",
        "format('{-1}', 1)",
        "format('{1}', 1)", "format('{0:N}', 1)", "format('{0}}', 1)", "format('{256}', 1)", "case('true', 1, 2)",
        "case(null, 1, 2)",
    ])
    func `what cannot be used is an error, never an empty text`(source: String) {
        let error = #expect(throws: ExpressionError.self) { try check(source, "") }
        #expect(error?.code == .invalidValue)
    }

    @Test(arguments: [
        "contains('a')", "contains('a', 'b', 'c')", "startsWith()", "endsWith('x')", "format()", "join()",
        "join('a', 'b', 'c')", "toJSON()", "toJSON(1, 2)", "fromJSON()", "success(1)", "always('x')", "hashFiles()",
        "case(true, 1)", "case(true, 1, false, 2)", "case()",
    ])
    func `functions count their arguments`(source: String) {
        let error = #expect(throws: ExpressionError.self) { _ = try Expression(parsing: source) }
        #expect(error?.code == .wrongArguments)
    }

    @Test(arguments: [
        "a ==", "== a", "a &&", "|| a", "a b", "a.", "a.1", "a..b", ".a", "a[", "a[]", "a]", "()", "(a", "a)",
        "contains('a',)", "contains(,'a')", "'", "'a", "a = b", "a & b", "a | b", "a === b", "a != = b", "\"a\"", "`a`",
        "a ? b : c", "{}", "[1]", "a.'b'", "a.*.", "a[*", "*", "1 2", "0x", "0xg", "1..2", "--", "!", "a!", "@", "#",
        "a;b", "$a", "a\\b", "a.b()", "null()", "1a", "é",
    ])
    func `what is no expression is refused, with its place`(source: String) {
        let error = #expect(throws: ExpressionError.self) { _ = try Expression(parsing: source) }
        #expect(error?.code == .syntax, "\(source)")
        #expect((error?.position.column ?? 0) >= 1)
    }

    @Test(arguments: [
        (1.0, "1"), (1.5, "1.5"), (-99.9, "-99.9"), (0.1, "0.1"), (1.0 / 3, "0.333333333333333"),
        (2.0 / 3, "0.666666666666667"),
        (1e14, "100000000000000"), (1e15, "1E+15"), (123456789012345.6, "123456789012346"), (1e-4, "0.0001"),
        (1e-5, "1E-05"), (1.23e-10, "1.23E-10"), (1e100, "1E+100"), (1.7976931348623157e308, "1.79769313486232E+308"),
        (9007199254740993, "9.00719925474099E+15"), (-1e21, "-1E+21"), (0.30000000000000004, "0.3"),
    ])
    func `numbers become text of fifteen digits`(number: Double, expected: String) {
        #expect(Value.number(number).text == expected)
    }
}
