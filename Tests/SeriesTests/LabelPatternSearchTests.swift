import Testing

@testable import Series

@Suite struct LabelPatternSearchTests {
    @Test(arguments: [
        ("b", "abc", true), ("^b", "abc", false), ("c$", "abc", true), ("b.", "ab\n", false), ("", "abc", true),
        ("a|x", "xyz", true),
        (#"\bone\b"#, "say one word", true), (#"\bone\b"#, "none", false), ("(?i)ABC", "xabcx", true),
    ])
    func `a search finds a pattern anywhere`(expression: String, text: String, holds: Bool) throws {
        #expect(try LabelPattern.searching(expression).matches(text) == holds)
    }

    @Test func `a search gives the leftmost match and its groups`() throws {
        let pattern = try LabelPattern.searching(#"(?P<key>[a-z]+)=(\d+)"#)
        #expect(pattern.captures("x a=1 b=22") == ["x a=1 b=22", "a=1", "a", "1"])
        #expect(pattern.groupNames == [nil, nil, "key", nil])
        #expect(throws: PatternError.self) { try LabelPattern.searching("a)(b") }
    }

    @Test(arguments: [
        ("status=5..", ["status=5"]), ("a|b", []), ("(user|admin) logged in", [" logged in"]), ("ab+c", ["ab", "c"]),
        ("(abc)?def", ["def"]), ("^exact$", ["exact"]), (#"10\.0\.\d+"#, ["10.0."]), ("(?i)error", []),
        ("x{2}y", ["x", "y"]),
    ])
    func `texts that every match holds are told`(expression: String, texts: [String]) throws {
        #expect(try LabelPattern.requiredTexts(expression) == texts)
    }

    @Test func `with case ignored the small letters are told`() throws {
        #expect(try LabelPattern.requiredTexts("(?i)Error [45]", ignoringCase: true) == ["error "])
        // The Kelvin sign is another run of bytes: if it matches, the letter need not be there.
        let isAlike = try LabelPattern("(?i)take").matches("ta\u{212A}e")
        #expect(try LabelPattern.requiredTexts("(?i)take", ignoringCase: true).contains("take") != isAlike)
    }
}
