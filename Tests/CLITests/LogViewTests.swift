import Testing

@testable import CLI

struct LogViewTests {
    private func shown(_ text: String, _ style: LogView.Style, by size: Int = .max) -> String {
        var view = LogView(style)
        var out = ""
        var rest = Substring(text)
        while !rest.isEmpty {
            out += view.feed(String(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        return out + view.finish()
    }

    static let text = "a\n::group::Build it\none\ntwo\n::endgroup::\n: b\nlast"

    @Test(arguments: [1, 2, 3, 7, 1000]) func `groups are marked or folded, however the text comes`(size: Int) {
        #expect(shown(Self.text, .raw, by: size) == Self.text)
        let marked = shown(Self.text, .marked, by: size)
        #expect(marked.hasPrefix("a\n▾ Build it\none\ntwo\n: b\nlast"), "\(marked)")
        let folded = shown(Self.text, .folded, by: size)
        #expect(folded.hasPrefix("a\n▸ Build it (2 lines)\n: b\nlast"), "\(folded)")
    }

    @Test func `a line that has not ended is shown at once`() {
        var view = LogView(.marked)
        #expect(view.feed("10 %") == "10 %")
        #expect(view.feed(" 20 %") == " 20 %")
        #expect(view.feed("\n::group::x\n").contains("▾ x"))
    }

    @Test(arguments: [
        ("\u{1B}[31mred\u{1B}[0m", "\u{1B}[31mred\u{1B}[0m"), ("\u{1B}]0;title\u{07}x", "x"), ("\u{1B}[2Jx", "x"),
        ("\u{1B}]52;c;aGk=\u{1B}\\x", "x"), ("a\u{08}\u{00}b", "ab"), ("\u{1B}cx", "x"), ("\u{9B}31mx", "31mx"),
    ])
    func `only colours reach a terminal`(text: String, expected: String) {
        #expect(LogView.safe(text) == expected)
    }

    @Test func `a code that is cut in two is one code`() {
        var view = LogView(.marked)
        #expect(view.feed("a\u{1B}]0;ti") == "a")
        #expect(view.feed("tle\u{07}b") == "b")
    }
}
