import API
import Kernel
import Manifests
import Testing

@testable import Web

struct ExperimentPageTests {
    private let house = SampleHouse()
    private var run: String { "/experiments/7/runs/\(SampleExperiments.ids[0])" }

    private func page(_ path: String, _ query: [String: String] = [:]) async throws -> String {
        let answer = try #require(try await house.face().handle(SampleHouse.look(path, query)))
        #expect(answer.status == 200)
        return answer.page
    }

    private func asked(_ operation: String) -> JSONValue? {
        house.asked.withLock { $0.last { $0.operation == operation }?.input }
    }

    @Test func `the table shows what runs logged, and sorts by a head`() async throws {
        let html = try await page("/experiments/7")
        #expect(html.contains("able-ant-2"))
        #expect(html.contains("order=metrics.auc%20DESC"))
        #expect(html.contains("params.solver"))
        #expect(!html.contains("mlflow.user</"))
        let sorted = try await page("/experiments/7", ["order": "metrics.auc DESC"])
        #expect(sorted.contains("aria-sort=\"descending\""))
        #expect(sorted.contains("order=metrics.auc%20ASC"))
        #expect(asked("experiments.runs")?["order_by"]?.string == "metrics.auc DESC")
    }

    @Test func `only the chosen columns are shown`() async throws {
        let html = try await page("/experiments/7", ["c:tags.team": "1"])
        #expect(html.contains(">tags.team</a></th>"))
        #expect(!html.contains(">auc</a></th>"))
    }

    @Test func `a saved search fills what was not typed`() async throws {
        let html = try await page("/experiments/7", ["view": "best"])
        #expect(asked("experiments.runs")?["filter"]?.string == "metrics.auc > 0.5")
        #expect(html.contains(">params.lr</a></th>"))
        #expect(!html.contains(">auc</a></th>"))
        _ = try await page("/experiments/7", ["view": "best", "filter": ""])
        #expect(asked("experiments.runs")?["filter"]?.string == nil)
    }

    @Test func `a filter that cannot be read is told beside the search`() async throws {
        let html = try await page("/experiments/7", ["filter": "nonsense"])
        #expect(html.contains("invalid clause(s) in filter string"))
        #expect(html.contains("value=\"nonsense\""))
    }

    @Test func `a search is saved as a resource`() async throws {
        let form = ["name": "good", "filter": "metrics.auc > 0.9", "order": "", "c:params.lr": "1"]
        let answer = try await house.face().handle(SampleHouse.post("/ui/experiments/7/save-view", form))
        #expect(answer?.target == "/experiments/7?view=good")
        let document = asked("resources.apply")?["documents"]?.array?.first
        #expect(document?["kind"]?.string == "RunView")
        #expect(document?["filter"]?.string == "metrics.auc > 0.9")
        #expect(document?["columns"]?.array?.compactMap(\.string) == ["params.lr"])
        #expect(document?["order_by"] == nil)
    }

    @Test func `a spike of a hundred thousand points is in the picture`() async throws {
        let html = try await page(run)
        #expect(html.contains("100,000 points, every peak is shown"))
        #expect(html.contains("no value"))
    }

    @Test func `curves can be chosen by name`() async throws {
        let html = try await page(run, ["metric": "LOSS", "log": "1", "smooth": "0.6", "axis": "time"])
        #expect(html.contains("aria-label=\"loss\""))
        #expect(!html.contains("aria-label=\"auc\""))
    }

    @Test func `smoothing starts at the first value and passes what is not finite`() {
        #expect(CurveLook.smoothed([4, 4, 4], by: 0.9).allSatisfy { abs($0 - 4) < 1e-12 })
        let smooth = CurveLook.smoothed([1, .nan, 3], by: 0.5)
        #expect(smooth[0] == 1)
        #expect(smooth[1].isNaN)
        // (1 × 0.25 + 3 × 0.5) / 0.75
        #expect(abs(smooth[2] - 7.0 / 3) < 1e-12)
        #expect(CurveLook(["smooth": "nan"]).smoothing == 0)
        #expect(CurveLook(["smooth": "7"]).smoothing == 0.999)
    }

    @Test func `a page of HTML is shown in a frame that may do nothing`() async throws {
        let html = try await page(run, ["file": "page.html"])
        #expect(html.contains("<iframe class=\"preview-page\" sandbox=\"\""))
        #expect(html.contains("srcdoc=\"&lt;h1&gt;Report"))
        #expect(!html.contains("<h1>Report"))
    }

    @Test func `a table of quoted fields is read as its writer meant it`() async throws {
        let table = try #require(FilePreview.table(SampleExperiments.text("rows.csv"), ","))
        #expect(table.columns == ["id", "what, said"])
        #expect(table.rows == [["1", "he \"said\" \(SampleExperiments.hostile)"], ["2", "b"]])
        #expect(FilePreview.table("", ",") == nil)
        #expect(FilePreview.table("a\r\n\"x\ny\"\r\n", ",")?.rows == [["x\ny"]])
        #expect(try await page(run, ["file": "rows.csv"]).contains("what, said"))
    }

    @Test func `an image is asked from the store of artifacts`() async throws {
        let html = try await page(run, ["file": "chart.png"])
        #expect(html.contains("<img class=\"preview\" src=\"/mlflow/get-artifact?run_uuid="))
        #expect(try await page(run, ["file": "model.bin"]).contains("no preview"))
    }

    @Test func `runs side by side tell where they differ and which is best`() async throws {
        let chosen = Dictionary(uniqueKeysWithValues: SampleExperiments.ids.map { ($0, "1") })
        let html = try await page("/experiments/7/compare", chosen)
        #expect(html.contains("Compare 3 runs"))
        #expect(html.contains("class=\"parallel p5\""))
        #expect(html.contains("1 the same in all"))
        // The greatest AUC and the least loss.
        #expect(html.contains("title=\"best\">0.82"))
        #expect(html.contains("title=\"best\">0.3"))
        let fewer = try await page("/experiments/7/compare", chosen.merging(["diff": "1"]) { $1 })
        #expect(!fewer.contains("<th scope=\"row\">depth</th>"))
        #expect(fewer.contains("<th scope=\"row\">lr</th>"))
    }

    @Test func `a run of another experiment is not there`() async throws {
        let answer = try await house.face().handle(
            SampleHouse.look("/experiments/8/runs/\(SampleExperiments.ids[0])"))
        #expect(answer == nil || answer?.status == 404)
    }
}
