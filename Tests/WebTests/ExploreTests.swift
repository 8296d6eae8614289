import API
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Web

struct ExploreTests {
    private func page(_ path: String, _ query: [String: String] = [:], house: SampleHouse = SampleHouse()) async throws
        -> String
    {
        let answer = try #require(try await house.face().handle(SampleHouse.look(path, query)))
        #expect(answer.status == 200)
        return answer.page
    }

    private func asked(_ house: SampleHouse, _ operation: String) -> [JSONValue] {
        house.asked.withLock { $0.filter { $0.operation == operation }.map(\.input) }
    }

    @Test func `a query's fault is underlined where it is, and nothing is asked`() async throws {
        let house = SampleHouse()
        let html = try await page("/explore", ["q": "sum(x{a=\"<b>\"}}"], house: house)
        #expect(html.contains("sum(x{a=&quot;&lt;b&gt;&quot;}<mark class=\"wrong\">}</mark>"))
        #expect(html.contains("aria-invalid=\"true\" aria-describedby=\"x-q-fault\""))
        #expect(html.contains("unexpected &quot;}&quot; &lt;b&gt;here&lt;/b&gt;"))
        #expect(asked(house, "metrics.query-range").isEmpty)
    }

    @Test(arguments: [
        (0..<3, "<mark class=\"wrong\">ab&lt;</mark>é"), (3..<9, "ab&lt;<mark class=\"wrong\">é</mark>"),
        (5..<5, "ab&lt;é<mark class=\"wrong\"> </mark>"),
    ])
    func `the place of a fault is told in bytes`(place: Range<Int>, marked: String) {
        #expect(ExploreMetricsPage.marked("ab<é", place).text == marked)
    }

    @Test func `what an operation refuses stands at its query`() async throws {
        let html = try await page("/explore", ["q": "broken", "q2": "x"])
        #expect(html.contains("role=\"alert\">the query touches 60,000,000 samples Ask for less.</p>"))
        #expect(html.contains("data-series=\"0\""))
    }

    @Test func `warnings and notes of an answer are shown`() async throws {
        let html = try await page("/explore", ["q": "x"])
        #expect(html.contains("a counter goes down &lt;b&gt;here&lt;/b&gt;"))
        #expect(html.contains("metric might not be a counter: &lt;script&gt;"))
    }

    @Test func `of many series a few are drawn, and it is said`() async throws {
        let house = SampleHouse()
        let html = try await page("/explore", ["q": "many", "step": "15s"], house: house)
        #expect(asked(house, "metrics.query-range").first?["limit"]?.int == TimeGraph.lineLimit)
        #expect(html.contains("60 series · 140 more are left out: narrow the query"))
        #expect(html.matches(of: /<button type="button" aria-pressed="true" data-series=/).count == 60)
        #expect(html.utf8.count < 1_200_000)
    }

    @Test func `several queries stand in one graph, each with its letter`() async throws {
        let html = try await page("/explore", ["q": "x", "q2": "y"])
        #expect(html.contains("A http_requests_total{code=&quot;200&quot;, job=&quot;shop&quot;}"))
        #expect(html.contains("B http_requests_total{"))
        #expect(html.contains("href=\"/explore?q=y&amp;range=1h\">Remove</a>"))
    }

    @Test func `time and step go into the question`() async throws {
        let house = SampleHouse()
        _ = try await page(
            "/explore", ["q": "x", "from": "2026-11-23 08:00", "to": "now-30m", "step": "15s"], house: house)
        let input = try #require(asked(house, "metrics.query-range").first)
        #expect(input["from"]?.string.flatMap(Double.init) == SampleWorld.now.seconds - 7200)
        #expect(input["to"]?.string.flatMap(Double.init) == SampleWorld.now.seconds - 1800)
        #expect(input["step"]?.string == "15s")
    }

    @Test(arguments: [("nonsense", "", "is no moment"), ("now", "now-1h", "the beginning lies behind the end")])
    func `a time that cannot be is told`(from: String, to: String, words: String) async throws {
        let html = try await page("/explore", ["q": "x", "from": from, "to": to])
        #expect(html.contains("role=\"alert\">") && html.contains(words))
    }

    @Test func `native histograms are a heat map`() async throws {
        let html = try await page("/explore", ["q": "native"])
        #expect(html.contains("Histogram of native"))
        #expect(html.contains("class=\"hit h5\""))
    }

    @Test func `a table has a column for each label`() async throws {
        let html = try await page("/explore", ["q": "x", "view": "table"])
        #expect(html.contains("<th scope=\"col\">code</th><th scope=\"col\">job</th>"))
        #expect(html.contains("<td class=\"wrap\">&lt;script&gt;alert(1)&lt;/script&gt;</td>"))
    }

    @Test func `lines have their colours, their level, and the way to their trace`() async throws {
        let html = try await page("/explore/logs", ["q": "{service_name=\"shop\"}"])
        #expect(html.contains("<span class=\"a-red\">payment failed</span> for &lt;img"))
        #expect(html.contains("class=\"entry bad\""))
        #expect(html.contains("href=\"/explore/traces/\(SampleTelemetry.traceID)\""))
        #expect(html.contains("Lines over time"))
        #expect(html.contains("data-tail=\"/explore/logs/tail?q="))
        #expect(!html.contains("javascript:"))
    }

    @Test func `a line's label narrows the search`() {
        let text = "sum(rate({a=\"b\"} |= \"x\" [5m]))"
        #expect(LogRow.narrowed(text, "host", "x\"y\\") == "sum(rate({host=\"x\\\"y\\\\\", a=\"b\"} |= \"x\" [5m]))")
        #expect(LogRow.narrowed("{}", "a", "b") == "{a=\"b\"}")
        #expect(LogRow.narrowed("no selector", "a", "b") == nil)
        #expect(LogRow.narrowed("{}", "a-b", "c") == nil)
    }

    @Test func `a wrong search for lines is told in its place`() async throws {
        let html = try await page("/explore/logs", ["q": "{a=\"b\"} |="])
        #expect(html.contains("The query ends where text is due"))
    }

    @Test func `the tail answers rows and where to go on`() async throws {
        let house = SampleHouse()
        let html = try await page("/explore/logs/tail", ["q": "{a=\"b\"}", "after": "42"], house: house)
        #expect(html.hasPrefix("<div data-next=\"43\"><p class=\"entry-note\">5 lines went by too fast</p>"))
        #expect(html.matches(of: /<details class="entry/).count == 2)
        #expect(asked(house, "logs.tail").first?["after"]?.string == "42")
    }

    @Test func `a trace shows its spans over time`() async throws {
        let html = try await page("/explore/traces/\(SampleTelemetry.traceID)")
        #expect(html.matches(of: /<details class="span"/).count == 6)
        #expect(html.contains("class=\"label d3\""))
        #expect(html.contains("card declined &lt;img src=x&gt;"))
        #expect(html.contains("<code>type=&lt;script&gt;"))
        #expect(html.contains("trace_id%3D%22\(SampleTelemetry.traceID)%22"))
    }

    @Test func `a trace that does not exist is a page that says so`() async throws {
        var routes = Routes()
        routes.on(Traces.get) { _, _ in throw Problem("trace.not-found", status: 404, "no trace \"x\"") }
        routes.on(Events.list) { _, _ in ItemList([]) }
        let face = try WebFace(caller: Switchboard(routes)) { _ in false }
        #expect(try #require(try await face.handle(SampleHouse.look("/explore/traces/x"))).status == 404)
    }

    @Test func `traces that no duration can fit are not looked up`() async throws {
        let html = try await page("/explore/traces", ["min": "soon"])
        #expect(html.contains("&quot;soon&quot; is no duration") || html.contains("\"soon\" is no duration"))
    }

    @Test(arguments: ["/explore", "/explore/logs", "/explore/traces", "/telemetry"])
    func `an empty house tells how to send here, with this server's address`(path: String) async throws {
        var look = SampleHouse.look(path)
        look.headers["host"] = "vagus.example:8420<script>"
        let html = try #require(try await SampleHouse(isEmpty: true).face().handle(look)).page
        #expect(html.contains("url: http://vagus.example:8420script/prometheus/api/v1/write"))
        #expect(html.contains("OTEL_EXPORTER_OTLP_ENDPOINT=http://vagus.example:8420script/otlp"))
        #expect(html.contains("/loki/api/v1/push"))
    }

    @Test func `targets that are down come first, with their error`() async throws {
        let html = try await page("/telemetry")
        let (down, up) = (html.firstRange(of: "http://shop:9100"), html.firstRange(of: "http://node:9100"))
        #expect(try #require(down).lowerBound < #require(up).lowerBound)
        #expect(html.contains("connection refused by &lt;b&gt;shop&lt;/b&gt;:9100"))
        #expect(html.contains("many-to-many &lt;script&gt;"))
    }

    @Test func `an unknown page below explore is none`() async throws {
        #expect(try await SampleHouse().face().handle(SampleHouse.look("/explore/x/y")) == nil)
    }
}
