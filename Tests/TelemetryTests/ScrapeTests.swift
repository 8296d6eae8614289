import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Outbound
import Series
import Testing
import Wire

@testable import Telemetry

@Suite struct ScrapeTests {
    private func scraper(_ room: Room, _ text: @escaping @Sendable () -> String) -> Scraper {
        Scraper(house: room.domain.house, outbound: OutboundClient(), secrets: FakeSecrets()) { Array(text().utf8) }
    }

    @Test func `a scrape keeps samples with the target's labels, and tells how it went`() async throws {
        let room = try await Room.open()
        let scraper = scraper(room) { "a{job=\"other\"} 1\nb 2\n" }
        try await scraper.scrape(Target(own: .seconds(15)), Scraper.Memory())
        #expect(
            try await room.query("a", at: room.now).keys.first
                == #"{"__name__":"a","exported_job":"other","instance":"vagus","job":"vagus"}"#)
        #expect(try await room.query("up", at: room.now).values.first == "1")
        #expect(try await room.query("scrape_samples_scraped", at: room.now).values.first == "2")
        #expect(try await room.query("scrape_series_added", at: room.now).values.first == "2")
    }

    @Test func `a series that a target shows no more ends at once, and all of them when it does not answer`()
        async throws
    {
        let room = try await Room.open()
        let (target, memory) = (Target(own: .seconds(15)), Scraper.Memory())
        try await scraper(room) { "a 1\nb 2\n" }.scrape(target, memory)
        room.time.advance(by: .seconds(15))
        try await scraper(room) { "a 1\n" }.scrape(target, memory)
        #expect(try await room.query("b", at: room.now).isEmpty)
        #expect(try await room.query("a", at: room.now).count == 1)
        room.time.advance(by: .seconds(15))
        try await scraper(room) { "a {{{\n" }.scrape(target, memory)
        #expect(try await room.query("a", at: room.now).isEmpty)
        #expect(try await room.query("up", at: room.now).values.first == "0")
    }

    @Test func `a series ends once, comes again, and lives while one of two that became it does`() async throws {
        let room = try await Room.open()
        var target = Target(own: .seconds(15))
        target.spec.metric_relabel = [try RelabelSpec(yaml: "{ regex: 'k', action: labeldrop }")]
        let memory = Scraper.Memory()
        func scrape(_ text: String) async throws {
            try await scraper(room) { text }.scrape(target, memory)
            room.time.advance(by: .seconds(15))
        }
        func added() async throws -> String? {
            try await room.query("scrape_series_added", at: room.now).values.first
        }
        try await scrape("a{k=\"1\"} 1\na{k=\"2\"} 1\nb 1\n")
        #expect(try await added() == "3")
        try await scrape("a{k=\"2\"} 1\nb 1\n")
        #expect(try await room.query("a", at: room.now).count == 1)
        #expect(try await added() == "0")
        try await scrape("b 1\n")
        #expect(try await room.query("a", at: room.now).isEmpty)
        try await scrape("a{k=\"2\"} 4\nb 1\n")
        #expect(try await room.query("a", at: room.now).values.first == "4")
        #expect(try await added() == "1")
    }

    @Test func `a scrape over its limit is refused whole`() async throws {
        let room = try await Room.open()
        var target = Target(own: .seconds(15))
        target.spec.limits.samples = 1
        try await scraper(room) { "a 1\nb 2\n" }.scrape(target, Scraper.Memory())
        #expect(try await room.query("a", at: room.now).isEmpty)
        #expect(try await room.query("up", at: room.now).values.first == "0")
    }

    @Test(arguments: [
        ("{ source_labels: [a], target_label: b, replacement: 'x-$1' }", ["a": "1", "b": "x-1"]),
        ("{ source_labels: [a], regex: '2', action: keep }", nil),
        ("{ source_labels: [a], regex: '1', action: drop }", nil),
        ("{ regex: 'a', action: labeldrop }", [:]),
        ("{ regex: '(.)', replacement: 'new_$1', action: labelmap }", ["a": "1", "new_a": "1"]),
        ("{ source_labels: [a], target_label: a, regex: '1', replacement: '' }", [:]),
        // Prometheus 3.5: hashmod of "1" by 8, the MD5's last eight bytes.
        ("{ source_labels: [a], target_label: h, modulus: 8, action: hashmod }", ["a": "1", "h": "3"]),
        ("{ source_labels: [a], regex: '9', target_label: b }", ["a": "1"]),
    ])
    func `relabelling does what Prometheus does`(text: String, wanted: [String: String]?) throws {
        let spec = try RelabelSpec(yaml: text)
        let labels = Relabelling([spec]).apply(Labels(["a": "1"]))
        #expect(labels?.dictionary == wanted)
    }

    @Test func `targets come from manifests, files and running copies`() async throws {
        let time = ManualTime()
        let platform = FakePlatform(time: time)
        let room = try await Room.open(platform: platform)
        try await room.house.apply(
            """
            kind: Telemetry
            name: main
            metrics:
              interval: 30s
              scrape:
                - job: nodes
                  targets: ["a:9100", "b:9100"]
                  labels: { dc: eu }
                  relabel: [{ source_labels: [__address__], regex: "b:.*", action: drop }]
                - { job: file, file: more.yaml, path: /m, params: { x: "1" } }
            """)
        try await room.plan()
        let text = "- targets: ['c:1']\n  labels: { zone: z }\n"
        try text.write(toFile: room.house.folder + "/telemetry/targets/more.yaml", atomically: true, encoding: .utf8)
        let found = await Discovery(house: room.domain.house, platforms: [platform]).targets(of: room.domain.house.plan)
        #expect(found.complaints.isEmpty)
        #expect(found.targets.map(\.url) == ["vagus:/metrics", "http://a:9100/metrics", "http://c:1/m?x=1"])
        #expect(found.targets[1].labels == ["job": "nodes", "instance": "a:9100", "dc": "eu"])
        #expect(found.targets[1].interval == .seconds(30))
        #expect(found.targets[2].labels["zone"] == "z")
    }
}

@Suite struct CopyTests {
    @Test func `running copies are scraped under their service's name, and one without metrics is left alone`()
        async throws
    {
        let time = ManualTime()
        let platform = FakePlatform(time: time)
        let room = try await Room.open(platform: platform)
        let order = InstanceOrder(
            id: InstanceID("default/shop/3/1"), service: Reference(project: "default", name: "shop"), revision: 3,
            command: ["./shop"], environment: [:])
        let instance = try await platform.start(order)
        let discovery = Discovery(house: room.domain.house, platforms: [platform])
        let target = try #require(await discovery.news(of: room.domain.house.plan)?.targets.last)
        #expect(await discovery.news(of: room.domain.house.plan) == nil, "nothing has changed since")
        #expect(target.url == "http://\(instance.host):\(instance.port)/metrics")
        #expect(target.labels["job"] == "shop")
        #expect(target.labels["revision"] == "3")
        #expect(target.isTentative)
        var silent = target
        silent.way = .own
        let scraper = Scraper(house: room.domain.house, outbound: OutboundClient(), secrets: FakeSecrets()) {
            throw Problem("scrape.status", status: 502, "server returned HTTP status 404")
        }
        let memory = Scraper.Memory()
        try await scraper.scrape(silent, memory)
        #expect(try await room.query("up", at: room.now).isEmpty)
        // An empty page shows no more than none, and who shows nothing is asked less and less.
        let blank = Scraper(house: room.domain.house, outbound: OutboundClient(), secrets: FakeSecrets()) { [] }
        try await blank.scrape(silent, memory)
        #expect(try await room.query("up", at: room.now).isEmpty)
        #expect(memory.patience(15_000) == 240_000)
        for _ in 0..<30 { memory.noteNothing() }
        #expect(memory.patience(15_000) == 3_600_000)
        let late = Scraper(house: room.domain.house, outbound: OutboundClient(), secrets: FakeSecrets()) {
            Array("a 1\n".utf8)
        }
        try await late.scrape(silent, memory)
        #expect(memory.patience(15_000) == 15_000)
        #expect(try await room.query("a", at: room.now).count == 1)
        // When a manifest says how services are scraped, only that counts.
        try await room.house.apply(
            "{ kind: Telemetry, name: a, metrics: { scrape: [{ job: mine, services: true, path: /m }] } }")
        try await room.plan()
        let found = await discovery.targets(of: room.domain.house.plan).targets
        #expect(found.map(\.isTentative) == [false, false])
        #expect(found.last?.url.hasSuffix("/m") == true)
    }
}

@Suite struct RemoteQueueTests {
    private func batch(_ name: String, _ count: Int) -> WriteBatch {
        var batch = WriteBatch()
        for time in 0..<count { batch.append(Labels(["__name__": name]), Int64(time), 1) }
        return batch
    }

    private func queue(_ limit: Int) -> RemoteQueue {
        var spec = RemoteWriteSpec()
        (spec.name, spec.queue) = ("far", limit)
        return RemoteQueue(.init(project: "default", part: spec))
    }

    @Test func `what is dropped while it is sent takes nothing else with it`() throws {
        let (queue, drops) = (queue(3000), DropCounts())
        queue.offer(batch("a", 2000), drops)
        let (sent, end) = try #require(queue.next())
        // The first is dropped for the second, which is not what was sent.
        queue.offer(batch("b", 2000), drops)
        queue.done(sent, end: end, error: nil, isLost: false)
        #expect(queue.status.waiting == 2000)
        #expect(queue.status.dropped == 2000)
        #expect(try #require(queue.next()).batch.entries.count == 2000)
    }

    @Test func `small batches are sent together`() throws {
        let (queue, drops) = (queue(3000), DropCounts())
        for _ in 0..<3 { queue.offer(batch("a", 10), drops) }
        let (sent, end) = try #require(queue.next())
        #expect(sent.sampleCount == 30)
        queue.done(sent, end: end, error: nil, isLost: false)
        #expect(queue.status.waiting == 0)
        #expect(queue.next()?.end == nil)
    }
}
