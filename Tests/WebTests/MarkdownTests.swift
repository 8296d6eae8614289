import Glibc
import Testing

@testable import Web

@Suite struct MarkdownTests {
    @Test(arguments: [
        ("# Top\ntext", "<h3>Top</h3><p>text</p>"),
        ("a **b** *c* `d<` \\*e", "<p>a <strong>b</strong> <em>c</em> <code>d&lt;</code> *e</p>"),
        ("- one\n- two\n\n1. x", "<ul><li>one</li><li>two</li></ul><ol><li>x</li></ol>"),
        ("```sh\n<b>&\n```\nafter", "<pre class=\"code\">&lt;b&gt;&amp;\n</pre><p>after</p>"),
        (
            "| a | b |\n|---|:-:|\n| 1 | `2` |",
            "<table><thead><tr><th>a </th><th>b </th></tr></thead><tbody><tr><td>1 </td><td><code>2</code> </td></tr></tbody></table>"
        ),
        ("> said\n> so", "<blockquote>said<br>so<br></blockquote>"),
        ("---", "<hr>"), ("", ""), ("#no", "<p>#no</p>"), ("a_b_c ** x", "<p>a_b_c ** x</p>"),
        ("[x](https://a.b/c)", "<p><a class=\"link\" rel=\"noreferrer nofollow\" href=\"https://a.b/c\">x</a></p>"),
    ])
    func `markdown becomes plain HTML`(text: String, html: String) {
        #expect(Markdown.html(text).text == html)
    }

    @Test(arguments: [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
        "![x](data:text/html,<script>)", "[x](https://a\"onmouseover=alert(1))", "`<script>`", "# <script>",
        "| <script> |\n|---|\n| <script> |", "- <script>", "> <script>", "**<script>**", "[<script>](http://x)",
    ])
    func `nothing in it can do anything`(text: String) {
        let html = Markdown.html(text).text
        #expect(!html.contains("<script") && !html.contains("<img") && !html.contains("javascript:\""))
        #expect(!html.contains("\"onmouseover") && !html.contains("href=\"data"))
    }

    @Test func `a text made to be slow is not`() {
        for piece in ["*", "[", "`", "**a", "> ", "![", "|", "\\"] {
            // What takes the square of the length takes a hundred times as long for ten times as much.
            let times = [3_000, 30_000].map { count in
                let text = String(repeating: piece, count: count)
                let before = Self.secondsOfThread
                _ = Markdown.html(text)
                return max(Self.secondsOfThread - before, 0.01)
            }
            #expect(times[1] < 50 * times[0], "\(piece)")
        }
    }

    private static var secondsOfThread: Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
