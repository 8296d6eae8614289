import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Telemetry

@Suite struct RuleTests {
    @Test func `a recording rule keeps what its expression gives, under its name and labels`() async throws {
        let room = try await Room.open()
        try await room.house.apply(
            """
            kind: Telemetry
            name: rules
            metrics:
              aggregation:
                rule_files:
                  - |
                    groups:
                      - name: jobs
                        interval: 30s
                        rules:
                          - { record: "queue:jobs:sum", expr: "sum by (queue) (jobs)", labels: { team: a } }
                          - { alert: Many, expr: "jobs > 5", for: 1m }
            """)
        try await room.plan()
        let loop = RuleLoop(house: room.domain.house)
        let now = room.now / 30_000 * 30_000
        try await room.write([
            (["__name__": "jobs", "queue": "q", "i": "1"], now, 2),
            (["__name__": "jobs", "queue": "q", "i": "2"], now, 3),
        ])
        try await loop.look(at: now + 10)
        #expect(
            try await room.query("queue:jobs:sum", at: now) == [
                #"{"__name__":"queue:jobs:sum","queue":"q","team":"a"}"#: "5"
            ])
        let told = try await room.house.call(Telemetry.status, TelemetryStatusQuery())
        #expect(told.rules.map(\.name) == ["queue:jobs:sum"])
        #expect(told.rules.first?.error == nil)
    }

    @Test func `a series that a rule gives no more ends at once`() async throws {
        let room = try await Room.open()
        try await room.house.apply(
            """
            kind: Telemetry
            name: rules
            metrics: { aggregation: { groups: [{ name: g, interval: 30s, rules: [{ record: "big", expr: "jobs > 1" }] }] } }
            """)
        try await room.plan()
        let loop = RuleLoop(house: room.domain.house)
        let now = room.now / 30_000 * 30_000
        try await room.write([(["__name__": "jobs"], now, 2)])
        try await loop.look(at: now)
        #expect(try await room.query("big", at: now).count == 1)
        try await room.write([(["__name__": "jobs"], now + 30_000, 0)])
        try await loop.look(at: now + 30_000)
        #expect(try await room.query("big", at: now + 30_000).isEmpty)
    }

    @Test func `lines are counted into metrics`() async throws {
        let room = try await Room.open()
        try await room.house.apply(
            """
            kind: Telemetry
            name: rules
            logging:
              aggregation:
                - { name: errors_1m, query: 'sum by (app) (count_over_time({app=~".+"} |= "error" [1m]))', labels: { from: logs } }
            """)
        try await room.plan()
        let now = room.now / 60_000 * 60_000
        let values: JSONValue = [
            [.string("\((now - 5000) * 1_000_000)"), "an error"], [.string("\((now - 4000) * 1_000_000)"), "fine"],
        ]
        let body: JSONValue = ["streams": [["stream": ["app": "shop"], "values": values]]]
        _ = try await room.post("/loki", "/api/v1/push", body.bytes, type: "application/json")
        try await RuleLoop(house: room.domain.house).look(at: now)
        #expect(
            try await room.query("errors_1m", at: now) == [#"{"__name__":"errors_1m","app":"shop","from":"logs"}"#: "1"]
        )
    }

    @Test(arguments: [
        "metrics: { aggregation: { groups: [{ name: g, rules: [{ record: a, expr: 'sum(' }] }] } }",
        "metrics: { aggregation: { groups: [{ name: g, rules: [{ record: 'a b', expr: '1' }] }] } }",
        "metrics: { aggregation: { rule_files: ['groups: [{ name: g, rules: [{ expr: up }] }]'] } }",
        "metrics: { retention: { by: [{ match: '{', keep: 1d }] } }",
        "metrics: { scrape: [{ job: a, targets: ['a:1'], relabel: [{ regex: '(', target_label: b }] }] }",
        "metrics: { scrape: [{ job: a }] }",
        "logging: { aggregation: [{ name: a, query: '{app=\"x\"}' }] }",
        "logging: { destinations: [{ file: ../x }] }",
        "metrics: { remote_write: [{ name: a, to: nowhere }] }",
    ])
    func `what could not be worked out is refused when it is applied`(text: String) async throws {
        let room = try await Room.open()
        await #expect(throws: Problem.self) {
            try await room.house.apply("kind: Telemetry\nname: main\n\(text)")
        }
    }

    @Test func `what there is one of may stand in one manifest only`() async throws {
        let room = try await Room.open()
        try await room.house.apply("{ kind: Telemetry, name: a, metrics: { retention: 30d } }")
        try await room.house.apply("{ kind: Telemetry, name: b, metrics: { scrape: [{ job: x, targets: ['h:1'] }] } }")
        await #expect(throws: Problem.self) {
            try await room.house.apply("{ kind: Telemetry, name: c, metrics: { retention: 10d } }")
        }
        try await room.plan()
        #expect(room.domain.house.plan.metrics.keep == .days(30))
        #expect(room.domain.house.plan.scrapes.count == 1)
    }

    @Test func `a type that is not kept is dropped where it is told`() async throws {
        let room = try await Room.open()
        try await room.house.apply("{ kind: Telemetry, name: a, metrics: { types: [counter] } }")
        try await room.plan()
        let text = "# TYPE a gauge\na 1\n# TYPE b counter\nb_total 2\nc 3\n"
        let answer = try await room.post(
            "/api/v1/metrics/push", "/job/test", Array(text.utf8), type: "text/plain; version=0.0.4")
        #expect(answer.status == 200)
        #expect(try await room.query("{job=\"test\"}", at: room.now).count == 2)
        #expect(try await room.query("a", at: room.now).isEmpty)
    }
}
