import API
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Web

struct PageTests {
    private func page(_ path: String, _ query: [String: String] = [:], isEmpty: Bool = false) async throws -> String {
        let answer = try #require(try await SampleHouse(isEmpty: isEmpty).face().handle(SampleHouse.look(path, query)))
        #expect(answer.status == 200)
        return answer.page
    }

    @Test(arguments: SamplePages.all.map(\.name), [false, true])
    func `every page is whole and without inline code`(name: String, isEmpty: Bool) async throws {
        let sample = try #require(SamplePages.all.first { $0.name == name })
        let html = try await page(sample.path, sample.query, isEmpty: isEmpty)
        #expect(html.hasPrefix("<!doctype html>"))
        #expect(html.hasSuffix("</html>"))
        #expect(!html.contains(" style="))
        #expect(!html.contains("<style"))
        #expect(!html.contains("javascript:"))
        #expect(try html.matches(of: Regex("<script[^>]*>[^<]")).isEmpty)
        #expect(try html.matches(of: Regex("<[^>]* on[a-z]+=")).isEmpty)
        #expect(!html.contains("{{"))
        #expect(html.matches(of: /<h1>/).count == 1)
        #expect(html.contains("<main class=\"main\" id=\"main\""))
        #expect(html.contains("Skip to content"))
        #expect(!html.contains("Optional("))
        for table in html.split(separator: "<table").dropFirst() { #expect(table.contains("<caption")) }
    }

    @Test(arguments: SamplePages.all.map(\.name))
    func `what people typed is escaped`(name: String) async throws {
        let sample = try #require(SamplePages.all.first { $0.name == name })
        let html = try await page(sample.path, sample.query)
        #expect(!html.contains("<script>alert"))
        #expect(!html.contains("<img src=x"))
        #expect(!html.contains("<b>AGEP"))
        #expect(!html.contains("test<Script>"))
    }

    @Test(arguments: [
        ("/", "vagus apply -f examples/employment/repository.yaml"), ("/runs", "vagus explain Pipeline"),
        ("/pipelines", "vagus apply -f pipeline.yaml"), ("/services", "vagus apply -f service.yaml"),
        ("/models", "vagus apply -f model.yaml"), ("/datasets", "vagus apply -f dataset.yaml"),
        ("/monitors", "vagus apply -f monitor.yaml"), ("/dora", "vagus dora --days 90"),
        ("/events", "vagus apply -f vagus.yaml"), ("/approvals", "vagus explain Environment.approval_gates"),
        ("/queue", "vagus run PIPELINE --follow"), ("/runners", "vagus token create runner-1 --permission agent"),
        ("/resources/environments", "vagus explain Environment"), ("/models/employment", "vagus run PIPELINE --follow"),
        ("/monitors/live", "vagus describe monitor live"),
        ("/datasets/employment", "vagus explain Pipeline.stages.ingest"),
        ("/pipelines/employment", "vagus run employment --follow"),
        ("/services/employment", "vagus describe service employment"),
    ])
    func `an empty page says what to type next`(path: String, command: String) async throws {
        #expect(try await page(path, isEmpty: true).contains("<code>\(command)</code>"))
    }

    @Test func `the calendar has whole weeks, with freezes on each of their days`() async throws {
        let html = try await page("/calendar")
        #expect(html.matches(of: /<li class="day/).count == 7 * 7)
        #expect(html.contains("<time datetime=\"2026-11-09\">Mon 9 Nov</time>"))
        #expect(html.contains("<li class=\"day today\" aria-current=\"date\"><h3><time datetime=\"2026-11-23\">"))
        // From 22 November, 09:00, to 25 November, 17:33.
        #expect(html.matches(of: /<p class="freeze"/).count == 4)
        #expect(html.contains("rollback may pass"))
    }

    @Test func `releases are told beside their services`() async throws {
        let html = try await page("/services")
        #expect(html.contains("shop #7") && html.contains("employment: ready, salary: going"))
        #expect(try await !page("/services", isEmpty: true).contains("Released together"))
    }

    @Test func `the overview names what is wrong`() async throws {
        let html = try await page("/")
        #expect(html.contains("salary: the newest rollout was aborted"))
        #expect(html.contains("employment-live is out of bounds"))
        #expect(html.contains("from 43 deployments"))
        // Run 12 failed, but run 13 of the same pipeline succeeded since.
        #expect(!html.contains("employment #12 failed"))
    }

    @Test func `a run tells why a job was skipped`() async throws {
        let html = try await page("/runs/run_01kb12", ["job": "deploy/deploy"])
        #expect(html.contains("skipped, since stage &quot;evaluate&quot; failed"))
        #expect(html.contains("The gate") == false)
        #expect(try await page("/runs/run_01kb12", ["view": "metrics"]).contains("The gate stopped this run"))
    }

    @Test func `a run opens at the job that failed, or else the one that runs`() async throws {
        #expect(try await page("/runs/run_01kb12").contains("aria-label=\"Log of evaluate\""))
        #expect(try await page("/runs/run_01kb14").contains("aria-label=\"Log of train\""))
    }

    @Test func `tests, expectations and rows put aside are listed`() async throws {
        let tests = try await page("/runs/run_01kb12", ["view": "tests"])
        #expect(tests.contains("ClientTests.testLatency"))
        #expect(tests.contains("2 tests failed"))
        let quality = try await page("/runs/run_01kb12", ["view": "quality"])
        #expect(quality.contains("column values to be between"))
        #expect(quality.contains("130 is above 99"))
        #expect(quality.contains("3 of 68,785 (0.0044 %)"))
    }

    @Test func `a service offers promote and abort during a rollout, and undo otherwise`() async throws {
        let live = try await page("/services/employment")
        #expect(live.contains("action=\"/ui/services/employment/promote\""))
        #expect(live.contains("All traffic goes to revision 3 at once."))
        #expect(!live.contains("/undo"))
        let aborted = try await page("/services/salary")
        #expect(aborted.contains("action=\"/ui/services/salary/undo\""))
        #expect(!aborted.contains("/promote"))
        #expect(aborted.contains("The newest rollout was aborted by &quot;errors&quot;"))
    }

    @Test func `a model marks the best of each metric, lower losses included`() async throws {
        let html = try await page("/models/employment")
        #expect(html.contains("<span class=\"best\" title=\"best\">0.8943<span class=\"sr\"> best</span></span>"))
        #expect(html.contains("<span class=\"best\" title=\"best\">0.3711<span class=\"sr\"> best</span></span>"))
        #expect(html.contains("Where version 3 comes from"))
    }

    @Test func `a version tells what differs, and asks whoever may approve it`() async throws {
        let html = try await page("/models/employment/4")
        #expect(html.contains("Not compatible"))
        #expect(html.contains("input &quot;region&quot; is new and required"))
        #expect(html.contains("It is the last approval that was missing"))
        #expect(html.contains("action=\"/ui/models/employment/approve\""))
        #expect(html.contains("&lt;b&gt;better&lt;/b&gt;"))
    }

    @Test func `a word about a version is bound to what was looked at`() async throws {
        let house = SampleHouse()
        let form = ["version": "4", "stage": "production", "digest": SampleModels.digest, "comment": "good"]
        let answer = try #require(
            try await house.face().handle(SampleHouse.post("/ui/models/employment/approve", form)))
        #expect(answer.target == "/models/employment/4?done=approve")
        let asked = house.asked.withLock { $0 }
        #expect(asked.map(\.operation) == ["models.approve"])
        #expect(asked.first?.input["digest"]?.string == SampleModels.digest)
    }

    @Test func `a chosen version is shown`() async throws {
        #expect(try await page("/models/employment", ["version": "1"]).contains("Where version 1 comes from"))
        #expect(try await page("/models/employment", ["version": "candidate"]).contains("Where version 4 comes from"))
    }

    @Test func `a monitor shows windows that wait for labels as such`() async throws {
        let html = try await page("/monitors/employment-live")
        #expect(html.contains("awaits labels"))
        #expect(html.contains("2018-11 (restated)"))
        #expect(html.contains("Too few rows"))
    }

    @Test func `the verdict on the chain stands above the events`() async throws {
        let answer = try #require(try await SampleHouse().face().handle(SampleHouse.post("/ui/events/verify")))
        #expect(answer.page.contains("The chain is intact"))
        #expect(answer.page.contains("199 events read"))
    }

    @Test func `a broken chain is named with its first bad event`() throws {
        var audit = AuditOutcome()
        (audit.intact, audit.first_bad, audit.message) = (false, 41, "hash does not fit")
        let page = EventsPage([], query: EventQuery(), audit: audit, now: 0)
        let html = try Site().document(page, Site.Visit())
        #expect(html.contains("The chain is broken at event 41"))
    }

    @Test func `a fragment is the body alone`() async throws {
        let html = try await page("/runs", ["fragment": "main"])
        #expect(!html.contains("<html"))
        #expect(html.contains("id=\"runs\" data-live"))
    }

    @Test func `the feed goes on behind the newest event`() async throws {
        #expect(try await page("/").contains("data-feed=\"/api/v1/events?after=199\""))
    }

    @Test func `a filter that fits nothing offers to clear it`() async throws {
        let html = try await page("/runs", ["status": "superseded"])
        #expect(html.contains("No run fits this filter"))
        #expect(html.contains("<a class=\"btn ghost\" href=\"/runs\">Clear</a>"))
    }
}
