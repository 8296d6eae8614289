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
            let text = String(repeating: piece, count: 100_000)
            let time = ContinuousClock().measure { _ = Markdown.html(text) }
            #expect(time < .seconds(30), "\(piece)")
        }
    }
}
