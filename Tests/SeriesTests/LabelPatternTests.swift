import Testing

@testable import Series

@Suite struct LabelPatternTests {
    @Test(arguments: [
        ("", "", true), ("", "a", false), ("a", "a", true), ("a", "ab", false), (".*", "", true), (".+", "", false),
        (".+", "ä\n", true), ("a|b|cd", "cd", true), ("a|b|cd", "c", false), ("api-.*", "api-1", true),
        ("api-.*", "ap", false), (".*-api", "x-api", true), (".*a.*", "bab", true), ("[a-c]+\\d{2,3}", "abc12", true),
        ("[a-c]+\\d{2,3}", "abc1234", false), ("(?i)HELLO wörld", "hello WÖRLD", true), ("[^/]+/x", "a/x", true),
        ("[^/]+/x", "a/b/x", false), ("^a$", "a", true), ("(^a|b$)", "b", true), ("a.c", "aöc", true),
        ("\\bfoo\\b.*", "foo bar", true), ("\\bfoo\\b.*", "foobar", false), ("[[:alpha:]]+", "aZ", true),
        ("\\p{Greek}+", "αβγ", true), ("\\pL+", "aβ1", false), ("a{0}b", "b", true), ("a{,2}", "a{,2}", true),
        ("\\Qa.b\\Ec", "a.bc", true), ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
        ("x\\x41\\x{e9}", "xAé", true),
        ("(?:foo|bar)?baz", "foobaz", true), ("\\w+@\\w+\\.com", "a@b.com", true), ("[]a]", "]", true),
    ])
    func `a pattern matches whole values only`(pattern: String, value: String, isMatch: Bool) throws {
        #expect(try LabelPattern(pattern).matches(value) == isMatch)
    }

    @Test(arguments: [
        "(", ")", "[a", "a**", "*", "a{2,1}", "a{1001}", "\\", "(?=a)", "\\1", "(?P<n>a)(?P<n>b)", "[b-a]", "\\p{Nope}",
    ])
    func `what is not of the syntax is refused`(pattern: String) {
        #expect(throws: PatternError.self) { try LabelPattern(pattern) }
    }

    @Test func `a choice of literals is known without running the pattern`() throws {
        #expect(try LabelPattern("b|a|cd").literalAlternatives == ["a", "b", "cd"])
        #expect(try LabelPattern("x(1|2)y").literalAlternatives == ["x1y", "x2y"])
        #expect(try LabelPattern("(?i)ab").literalAlternatives == ["AB", "Ab", "aB", "ab"])
        #expect(try LabelPattern("a.*").literalAlternatives == nil)
        #expect(try LabelPattern("abc.*").prefix == "abc")
        #expect(try LabelPattern("(abc)(d|e).*").prefix == "abc")
    }

    @Test func `captures fill a template as Go does`() throws {
        let pattern = try LabelPattern("(.*)-(?P<zone>[a-z]+)(x)?")
        #expect(pattern.replacing("web-1-eu", with: "$1/${zone}/$3$$") == "web-1/eu/$")
        #expect(pattern.replacing("web-1-eu", with: "$1x") == "")
        #expect(pattern.replacing("web", with: "$1") == nil)
        #expect(try LabelPattern("(a+?)(a*)").captures("aaa") == ["aaa", "a", "aa"])
    }

    @Test func `time grows with the value alone`() throws {
        let pattern = try LabelPattern("(x+x+)+y")
        #expect(!pattern.matches(String(repeating: "x", count: 50_000)))
        let wide = try LabelPattern("(.*a.{14})+\\b")
        #expect(!wide.matches(String(repeating: "ab", count: 500) + " "))
    }
}
