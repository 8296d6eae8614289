import Foundation
import Testing

@testable import Globs

@Suite struct GlobsTests {
    /// GitHub Docs, "Workflow syntax for GitHub Actions": filter pattern cheat sheet, branches, tags and file paths.
    static let documented: [(pattern: String, named: [String], other: [String])] = [
        ("feature/*", ["feature/my-branch", "feature/your-branch"], ["feature/a/b", "feature", "features/a"]),
        (
            "feature/**", ["feature/beta-a/my-branch", "feature/your-branch", "feature/mona/the/octocat"],
            ["feature", "a/feature/b"]
        ),
        ("main", ["main"], ["main2", "maim", "a/main"]),
        ("*", ["main", "releases"], ["all/the/branches"]),
        ("**", ["all/the/branches", "every/tag", "main"], []),
        ("*feature", ["mona-feature", "feature", "ver-10-feature"], ["features", "a/feature"]),
        ("v2*", ["v2", "v2.0", "v2.9"], ["v1", "v2/a"]),
        ("v[12].[0-9]+.[0-9]+", ["v1.10.1", "v2.0.0"], ["v3.0.0", "v1..1", "v1.0", "v1a0.0"]),
        ("*.jsx?", ["page.js", "page.jsx"], ["page.jsxx", "a/page.js", "page.js?"]),
        ("*.js", ["app.js", "index.js"], ["js/index.js"]),
        ("**.js", ["index.js", "js/index.js", "src/js/app.js"], ["index.jsx"]),
        ("docs/*", ["docs/README.md", "docs/file.txt"], ["docs/a/b", "README.md"]),
        ("docs/**", ["docs/README.md", "docs/mona/octocat.txt"], ["docs", "a/docs/b"]),
        (
            "docs/**/*.md", ["docs/README.md", "docs/mona/hello-world.md", "docs/a/markdown/file.md"],
            ["docs/a.txt", "a/docs/b.md"]
        ),
        ("**/docs/**", ["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"], ["mydocs/a"]),
        ("**/README.md", ["README.md", "js/README.md"], ["js/XREADME.md", "README.md/x"]),
        ("**/*src/**", ["a/src/app.js", "my-src/code/js/app.js"], ["src", "srcs/a"]),
        ("**/*-post.md", ["my-post.md", "path/their-post.md"], ["post.md"]),
        (
            "**/migrate-*.sql", ["migrate-10909.sql", "db/migrate-v1.0.sql", "db/sept/migrate-v1.sql"],
            ["db/xmigrate-1.sql"]
        ),
    ]

    @Test(arguments: documented)
    func `filters name what GitHub's page says`(row: (pattern: String, named: [String], other: [String])) {
        let glob = Glob(row.pattern)
        for text in row.named { #expect(glob.matches(text), "\(row.pattern) must name \(text)") }
        for text in row.other { #expect(!glob.matches(text), "\(row.pattern) must not name \(text)") }
    }

    @Test(arguments: documented)
    func `the regular expression names the same`(row: (pattern: String, named: [String], other: [String])) throws {
        let regex = try Regex(Glob(row.pattern).regularExpression)
        for text in row.named { #expect(text.wholeMatch(of: regex) != nil, "\(row.pattern) must name \(text)") }
        for text in row.other { #expect(text.wholeMatch(of: regex) == nil, "\(row.pattern) must not name \(text)") }
    }

    @Test func `patterns with ! take away, by their order`() {
        let some = GlobList(["*.md", "!README.md"])
        #expect(some.names("hello.md") && !some.names("README.md") && !some.names("docs/hello.md"))
        let again = GlobList(["*.md", "!README.md", "README*"])
        #expect(again.names("hello.md") && again.names("README.md") && again.names("README.doc"))
        #expect(GlobList(["!a"]).isVain && !GlobList([]).isVain && !GlobList(["!a", "b"]).isVain)
        #expect(!GlobList(["!a"]).names("b"))
    }

    @Test func `characters that mean something can be meant literally`() {
        #expect(Glob("a\\*b").matches("a*b") && !Glob("a\\*b").matches("axb"))
        #expect(Glob("[").matches("[") && Glob("[]").matches("[]") && Glob("?a").matches("?a"))
        #expect(Glob("[^a-c]x").matches("dx") && !Glob("[^a-c]x").matches("bx") && !Glob("[^a]x").matches("/x"))
        #expect(Glob("ü?").matches("ü") && Glob("ü?").matches(""))
        #expect(Glob("release/v1.0").regularExpression == "^release/v1[.]0$")
    }

    @Test func `in the file dialect ? is one character and + is itself`() {
        #expect(Glob("a?c", .file).matches("abc") && !Glob("a?c", .file).matches("ac"))
        #expect(!Glob("a?c", .file).matches("a/c") && Glob("g++", .file).matches("g++"))
        #expect(Glob("**", .file).matches("a/b") && Glob("out/**/x", .file).matches("out/x"))
        #expect(!Glob("**.c", .file).matches("a/b.c") && Glob("[!a]", .file).matches("b"))
    }

    @Test func `what lies beneath a folder may match or cannot`() {
        #expect(Glob("out/**/*.tar", .file).mayMatch(beneath: "out/deep"))
        #expect(Glob("**/x", .file).mayMatch(beneath: "anything"))
        #expect(!Glob("out/*.tar", .file).mayMatch(beneath: "src"))
        #expect(!Glob("out/*.tar", .file).mayMatch(beneath: "out/deep"))
    }

    @Test func `a pattern made to be slow is not`() {
        let pattern = String(repeating: "**a", count: 200)
        let started = ContinuousClock.now
        #expect(!Glob(pattern).matches(String(repeating: "a", count: 2000) + "b"))
        #expect(ContinuousClock.now - started < .seconds(10))
    }
}
