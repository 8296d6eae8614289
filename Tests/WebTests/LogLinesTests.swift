import Testing

@testable import Web

struct LogLinesTests {
    @Test func `lines are numbered and escaped`() {
        let lines = LogLines("a\n<b>\n", first: 7, ended: false)
        #expect(lines.nextLine == 9)
        #expect(lines.unread == 0)
        #expect(lines.html.text.contains(">7</span><span class=\"tx\">a</span>"))
        #expect(lines.html.text.contains(">8</span><span class=\"tx\">&lt;b&gt;</span>"))
    }

    @Test func `a line that has not ended waits for its rest`() {
        let open = LogLines("a\nbé", first: 1, ended: false)
        #expect(open.nextLine == 2)
        #expect(open.unread == 3)
        #expect(LogLines("a\nbé", first: 1, ended: true).nextLine == 3)
    }

    @Test func `a line without end is shown once it is too long to wait for`() {
        let long = String(repeating: "x", count: LogLines.openLineLimit + 1)
        let lines = LogLines(long, first: 1, ended: false)
        #expect(lines.unread == 0)
        #expect(lines.nextLine == 2)
        // The page shows its beginning.
        #expect(lines.html.text.count < LogLines.lineLimit + 200)
    }

    @Test func `colours of ANSI become classes`() {
        let html = LogLines("\u{1B}[1;31mbad\u{1B}[0m ok \u{1B}[92mgreen\n\u{1B}[39mplain\n", first: 1, ended: true)
            .html.text
        #expect(html.contains("<span class=\"a-red a-bold\">bad</span> ok <span class=\"a-green\">green</span>"))
        #expect(html.contains("<span class=\"tx\">plain</span>"))
    }

    @Test(arguments: ["\u{1B}[2K", "\u{1B}[1;1H", "\u{1B}[38;5;200m", "\u{1B}[38;2;1;2;3m", "\u{1B}[", "\u{1B}[999"])
    func `other codes leave no trace`(code: String) {
        #expect(LogLines("x\(code)\n", first: 1, ended: true).html.text.contains("<span class=\"tx\">x</span>"))
    }

    @Test func `what a progress bar wrote over is gone`() {
        let html = LogLines("10 %\r50 %\r100 %\r\n", first: 1, ended: true).html.text
        #expect(html.contains("<span class=\"tx\">100 %</span>"))
    }

    @Test func `lines may end as on Windows`() {
        let lines = LogLines("a\r\nb\r\n", first: 1, ended: false)
        #expect(lines.nextLine == 3)
        #expect(lines.html.text.contains("<span class=\"tx\">a</span>"))
    }

    @Test func `control characters do not reach the page`() {
        let html = LogLines("a\u{8}b\u{0}c\n", first: 1, ended: true).html.text
        #expect(html.contains("a\u{FFFD}b\u{FFFD}c"))
    }
}
