import Testing

@testable import Web

struct LogViewTests {
    private func html(_ text: String, group: Bool = false) -> String {
        LogLines(text, first: 1, ended: true, group: group).html.text
    }

    @Test func `a group is a button, and its lines can be folded`() {
        let text = html("::group::Unit <tests>\none\n::endgroup::\ntwo\n")
        #expect(text.contains("class=\"log-line group\""))
        #expect(text.contains("data-fold aria-expanded=\"true\">Unit &lt;tests&gt;</button>"))
        #expect(text.contains("class=\"log-line in\"><span class=\"no\" aria-hidden=\"true\">2</span>"))
        #expect(text.contains("class=\"log-line\"><span class=\"no\" aria-hidden=\"true\">4</span>"))
    }

    @Test func `a group goes on in the next part of a log`() {
        let part = LogLines("::group::a\none\n", first: 1, ended: false)
        #expect(part.isInGroup)
        #expect(html("more\n", group: true).contains("log-line in"))
    }

    @Test(arguments: [
        ("\u{1B}[38;5;196mx", "<span data-fg=\"#ff0000\">x</span>"),
        ("\u{1B}[38;5;9mx", "<span class=\"a-red\">x</span>"),
        ("\u{1B}[48;5;244mx", "<span data-bg=\"#808080\">x</span>"),
        ("\u{1B}[1;38;2;1;2;255mx", "<span class=\"a-bold\" data-fg=\"#0102ff\">x</span>"),
        ("\u{1B}[38:2::1:2:255mx", "<span data-fg=\"#0102ff\">x</span>"),
        ("\u{1B}[4;41mx", "<span class=\"b-red a-under\">x</span>"),
        ("\u{1B}[38;2;999;-1;0mx", "<span data-fg=\"#ff0000\">x</span>"),
        ("\u{1B}[38;5;700mx", ">x<"), ("\u{1B}[31;0mx", ">x<"), ("\u{1B}[38;2;1mx", ">x<"),
    ])
    func `colours of every kind are shown`(text: String, expected: String) {
        #expect(html(text + "\n").contains(expected), "\(html(text))")
    }

    @Test(arguments: [
        "\u{1B}]0;title\u{07}x", "\u{1B}]8;;javascript:alert(1)\u{1B}\\x", "\u{1B}P1$r\u{1B}\\x", "\u{1B}[2J\u{1B}[Hx",
    ])
    func `codes that steer a terminal are gone`(text: String) {
        #expect(html(text + "\n").contains("<span class=\"tx\">x</span>"), "\(html(text))")
    }

    @Test func `nothing that a job writes becomes markup`() {
        let text = html("\u{1B}[31m<script>\"'&\u{1B}[38;2;\"><b>m\n::group::\"><img>\n::endgroup::<i>\n")
        #expect(!text.contains("<script") && !text.contains("<b>") && !text.contains("<img") && !text.contains("<i>"))
    }
}
