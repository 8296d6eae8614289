import API
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Web

struct DashboardTests {
    private func variables(_ chosen: [String: String] = [:]) -> DashboardVariables {
        var made = DashboardVariables()
        var job = DashboardVariable()
        (job.name, job.multiple, job.all) = ("job", true, true)
        made.add(job, options: ["a.b", "c\"d"], asked: chosen["job"], problem: nil)
        var top = DashboardVariable()
        top.name = "top"
        made.add(top, options: ["5", "x\"}"], asked: chosen["top"], problem: nil)
        return made
    }

    @Test(arguments: [
        ("topk($top, x{job=~\"$job\"})", [:], "topk(5, x{job=~\".*\"})"),
        ("x{job=~\"${job:regex}\"}", ["job": "a.b"], "x{job=~\"a\\\\.b\"}"),
        ("x{job=~\"[[job]]\"}", ["job": "a.b\u{1F}c\"d"], "x{job=~\"a\\\\.b|c\\\"d\"}"),
        ("x{a=\"$top\"}", ["top": "x\"}"], "x{a=\"x\\\"}\"}"),
        ("$unknown $ ${ [[", [:], "$unknown $ ${ [["), ("x{job=\"$top\"}", ["top": "not offered"], "x{job=\"5\"}"),
        ("rate(x[$__range])", [:], "rate(x[3600s])"),
    ])
    func `variables stand in queries, and none ends the text it stands in`(
        text: String, chosen: [String: String], filled: String
    ) {
        #expect(variables(chosen).filled(text) == filled)
    }

    @Test(arguments: [
        ("label_values(job)", nil, "job"), ("label_values(up{a=\"b,c\"}, job)", "up{a=\"b,c\"}", "job"),
        ("label_values(up, job )", "up", "job"),
    ])
    func `a variable's options are asked of the store`(text: String, match: String?, label: String) throws {
        let found = try #require(DashboardVariables.labelValues(text))
        #expect(found.match == match && found.label == label)
        #expect(DashboardVariables.labelValues("query_result(up)") == nil)
    }

    @Test func `a legend takes the labels' values`() {
        var series = MetricSeries()
        series.labels = ["__name__": "x", "job": "<b>"]
        #expect(series.name(by: "{{ job }} of {{none}}!") == "<b> of !")
        #expect(series.name(by: nil) == "x{job=\"<b>\"}")
        #expect(series.name(by: "{{open") == "{{open")
    }

    private func page(_ path: String, _ query: [String: String] = [:], house: SampleHouse = SampleHouse()) async throws
        -> String
    {
        let answer = try #require(try await house.face().handle(SampleHouse.look(path, query)))
        #expect(answer.status == 200)
        return answer.page
    }

    @Test func `each panel shows what it is, and its fault in its place`() async throws {
        let house = SampleHouse()
        let html = try await page("/dashboards/shop", house: house)
        #expect(html.matches(of: /data-panel="\/dashboards\/shop\/panel\?panel=/).count == 10)
        #expect(html.contains("The query touches 60,000,000 samples"))
        #expect(html.contains("class=\"one bad\""))
        #expect(html.contains("Nothing in this time"))
        #expect(html.contains("<details class=\"panel-row\" id=\"row2\"><summary>"))
        #expect(html.contains("data-refresh=\"30\""))
        let asked = house.asked.withLock { $0.compactMap { $0.input["query"]?.string } }
        #expect(asked.contains("sum(rate(x{job=~\".*\"}[5m]))"))
        // The panel of a closed row is asked when it opens.
        #expect(!asked.contains("x"))
        #expect(html.contains("data-waiting"))
    }

    @Test func `a panel leads to explore with its query`() async throws {
        let html = try await page("/dashboards/shop", ["var-job": "shop", "var-top": "10"])
        #expect(html.contains("href=\"/explore?q=topk%2810%2C%20x%29&amp;range=1h\""))
        #expect(html.contains("href=\"/explore/logs?q=%7Bservice_name%3D%22shop%22%7D&amp;range=1h\""))
    }

    @Test func `a panel alone is asked with what is chosen`() async throws {
        let house = SampleHouse()
        let html = try await page(
            "/dashboards/shop/panel", ["panel": "0", "var-job": "front.end", "range": "5m"], house: house)
        #expect(html.hasPrefix("<div><div class=\"panel-head\">"))
        #expect(!html.contains("<html"))
        let asked = house.asked.withLock { $0.filter { $0.operation == "metrics.query-range" }.map(\.input) }
        #expect(asked.map { $0["query"]?.string } == ["sum(rate(x{job=~\"front\\\\.end\"}[5m]))"])
        let none = try await house.face().handle(SampleHouse.look("/dashboards/shop/panel", ["panel": "99"]))
        #expect(none == nil)
    }

    @Test func `dashboards that vagus brings are listed apart`() async throws {
        let html = try await page("/dashboards")
        #expect(html.contains("Brought by vagus"))
        #expect(html.contains("href=\"/dashboards/service-employment\""))
        #expect(try await page("/services/employment").contains("href=\"/dashboards/service-employment\""))
        #expect(try await page("/models/employment").contains("href=\"/dashboards/model-employment\""))
    }

    @Test func `an import shows what is not taken before it is saved`() async throws {
        let house = SampleHouse()
        let form = ["dashboard": "{\"panels\": []}", "name": "load"]
        let looked = try #require(
            try await house.face().handle(SampleHouse.post("/ui/dashboards/import/check", form)))
        #expect(looked.page.contains("<li>panel &quot;Map &lt;img src=x&gt;&quot;: its type"))
        #expect(looked.page.contains("formaction=\"/ui/dashboards/import/save\">Save as load"))
        #expect(!looked.page.contains("<script>alert"))
        #expect(house.asked.withLock { $0.isEmpty })
        let saved = try #require(try await house.face().handle(SampleHouse.post("/ui/dashboards/import/save", form)))
        #expect(saved.target == "/dashboards/load?done=import")
        let applied = house.asked.withLock { $0.first }
        #expect(applied?.operation == "resources.apply")
        #expect(applied?.input["documents"]?[0]?["name"]?.string == "load")
    }

    @Test(arguments: [("{", "This is no JSON"), ("{\"a\": 1}", "This is no dashboard of Grafana")])
    func `what is no dashboard is told, and the text stays`(text: String, words: String) async throws {
        let form = ["dashboard": text]
        let answer = try #require(
            try await SampleHouse().face().handle(SampleHouse.post("/ui/dashboards/import/save", form)))
        #expect(answer.status >= 400)
        #expect(answer.page.contains(words))
        #expect(answer.page.contains("required>\(escaped(text))</textarea>"))
    }

    @Test func `a form that brings a dashboard may be long`() {
        #expect(WebFace.formLimit("/ui/dashboards/import/check") == 4 << 20)
        #expect(WebFace.formLimit("/ui/runs/x/cancel") == 65_536)
    }

    @Test func `buckets of classic histograms are told apart`() {
        let series = [("0.1", 2.0), ("1", 5), ("+Inf", 6)].map { bound, value in
            var one = MetricSeries()
            (one.labels, one.points) = (["le": bound], [(at: 10, value: value)])
            return one
        }
        let column = HistogramMap.classic(series)
        #expect(column.first?.buckets.map(\.count) == [2, 3, 1])
        #expect(HistogramMap.counts(column[0], bounds: [0, 0.1, 0.5, 1, .infinity]) == [2, 1.5, 1.5, 1])
    }

    @Test func `services that call in a circle are drawn all the same`() {
        let calls = [("a", "b"), ("b", "a"), ("a", "a"), ("b", "c")].map {
            var call = ServiceCall()
            (call.from, call.to, call.calls) = ($0.0, $0.1, 10)
            return call
        }
        let figure = ServiceGraph(calls).figure()
        #expect(figure.wide.text.matches(of: /class="node"/).count == 3)
        #expect(!figure.narrow.text.contains("nan"))
        // Of a circle the busiest call leads on: c, b and a stand in three columns.
        let places = figure.wide.text.matches(of: /class="node" x="([0-9.]+)"/).compactMap { Double($0.1) }
        #expect(places == places.sorted() && Set(places).count == 3)
    }

    @Test func `values that are no numbers break no graph`() {
        let points = [LineChart.Point(0, 1), LineChart.Point(1, nil), LineChart.Point(2, 1e300)]
        var graph = TimeGraph("x", lines: [.init(name: "a", points: points)], span: 0...2)
        #expect(!graph.figure(.half).wide.text.lowercased().contains("nan"))
        graph.isStacked = true
        #expect(graph.figure(.half).wide.text.contains("class=\"area f0\""))
        let none = TimeGraph("x", lines: [.init(name: "a", points: [])], span: 0...2)
        #expect(none.figure(.half).wide.text.contains("No value in this time"))
    }
}
