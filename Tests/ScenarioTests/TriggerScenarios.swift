import API
import Foundation
import Kernel
import Logging
import Manifests
import Testing

@testable import Server

/// What sets pipelines off, row by row, in a whole server with its runner; git speaks HTTP to it from within a step.
@Suite struct TriggerScenarios {
    private static func pipeline(_ name: String, _ triggers: String, _ more: String = "", run: String = "true")
        -> String
    {
        """
        kind: Pipeline
        name: \(name)
        triggers: \(triggers)
        \(more)
        stages: [{ name: s, jobs: { j: { steps: [{ run: "\(run)" }] } } }]
        """
    }

    /// The runs of a pipeline once there are `count`, and the last of them has ended; oldest first.
    @discardableResult
    private static func runs(_ house: House, _ name: String, count: Int = 1) async throws -> [Run] {
        let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(60)))
        while true {
            var query = RunQuery()
            query.pipeline = name
            let found = try await house.ask(Runs.list, query).items
            if found.count >= count, found.allSatisfy(\.status.hasEnded) { return found.reversed() }
            try #require(time.now < end, "\(name) does not come to \(count) runs: \(found.map(\.json.text))")
            try await time.sleep(for: .milliseconds(20))
        }
    }

    /// A repository with one commit on main that holds `manifest`; later commands of `git` work in a clone of it.
    private static func repository(_ house: House, _ manifest: String) async throws
        -> @Sendable (String) async throws -> Void
    {
        let url = try await house.place.url() + "/git/default/shop.git"
        let clone = NSTemporaryDirectory() + "vagus-clone-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: clone + "/.vagus", withIntermediateDirectories: true)
        try Data(manifest.utf8).write(to: URL(filePath: clone + "/.vagus/p.yaml"))
        try await house.apply("{ kind: Repository, name: shop }")
        let counter = Counter()
        @Sendable func git(_ script: String) async throws {
            let name = "author\(await counter.next())"
            var spec: Ordered<JSONValue> = ["kind": "Pipeline", "name": .string(name)]
            let text =
                "export GIT_AUTHOR_NAME=Ana GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=Ana GIT_COMMITTER_EMAIL=a@example.com; cd \(clone); \(script)"
            spec["stages"] = [["name": "s", "jobs": ["j": ["steps": [["run": .string(text)]]]]]]
            var input = ApplyInput()
            input.documents = [.object(spec)]
            _ = try await house.ask(Resources.apply, input)
            _ = try await house.start(name)
            let run = try #require(try await runs(house, name).first)
            try #require(run.status == .succeeded, "\(script): \(run.reason ?? "")")
        }
        try await git(
            "until git ls-remote \(url) >/dev/null 2>&1; do sleep 0.05; done; git init -q -b main; git remote add origin \(url); git add -A; git commit -q -m first; git push -q origin main"
        )
        return git
    }

    private actor Counter {
        var count = 0
        func next() -> Int {
            count += 1
            return count
        }
    }

    @Test func `push, with branch and path filters`() async throws {
        try await withOpenHouse { house in
            let git = try await Self.repository(
                house,
                Self.pipeline("p", "[{ push: { branches: [main, 'release/**', '!release/old'], paths: ['src/**'] } }]"))
            try await git("mkdir src; echo 1 > src/a; git add -A; git commit -q -m code; git push -q origin main")
            // What a new branch brings is what the default branch has not.
            try await git(
                "echo 2 > src/a; git commit -q -a -m two; git push -q origin HEAD:release/1 HEAD:release/old HEAD:topic"
            )
            let runs = try await Self.runs(house, "p", count: 2)
            #expect(runs.map(\.trigger.ref) == ["refs/heads/main", "refs/heads/release/1"])
            #expect(runs.allSatisfy { $0.trigger.type == .push && $0.trigger.is_trusted })
        }
    }

    @Test func `tag`() async throws {
        try await withOpenHouse { house in
            let git = try await Self.repository(house, Self.pipeline("p", "[{ tag: { names: ['v[0-9]+.*'] } }]"))
            try await git("git tag v1.0; git tag nightly; git push -q origin --tags")
            let runs = try await Self.runs(house, "p")
            #expect(runs.map(\.trigger.ref) == ["refs/tags/v1.0"] && runs.first?.trigger.type == .tag)
        }
    }

    @Test func `pull request, untrusted unless said otherwise`() async throws {
        try await withOpenHouse { house in
            let git = try await Self.repository(
                house,
                Self.pipeline("p", "[{ pull_request: { branches: [main] } }]") + "\n---\n"
                    + Self.pipeline("q", "[{ pull_request: { trusted: true } }]"))
            try await git(
                "git checkout -q -b topic; git commit -q --allow-empty -m Topic; git push -q -o pull_request.create origin topic"
            )
            let (p, q) = (try await Self.runs(house, "p"), try await Self.runs(house, "q"))
            #expect(p.map(\.trigger.is_trusted) == [false] && q.map(\.trigger.is_trusted) == [true])
            #expect(p.first?.trigger.event?["pull_request"]?["title"] == "Topic")
            var input = MergeInput()
            (input.repository, input.number) = ("shop", 1)
            #expect(try await house.ask(Pulls.merge, input).state == .merged)
        }
    }

    @Test func `schedule with time zone and daylight saving`() async throws {
        try await withOpenHouse { house in
            try await house.apply(Self.pipeline("p", "[{ schedule: { cron: '30 2 * * *', tz: Europe/Berlin } }]"))
            var query = TriggerQuery()
            (query.pipeline, query.times) = ("p", 100)
            let info = try #require(try await house.ask(Triggers.list, query).items.first)
            #expect(info.next.count == 100 && info.next == info.next.sorted())
        }
    }

    @Test func `manual with typed parameters`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                Self.pipeline(
                    "p", "[]",
                    "parameters: { tier: { choices: [staging, production] }, n: { type: int, default: 1 }, tag: { pattern: 'v[0-9]+', required: false } }"
                ))
            let run = try await house.start("p", ["tier": "staging", "n": "7", "tag": "v2"])
            #expect(run.parameters == ["tier": "staging", "n": 7, "tag": "v2"])
            for wrong: Ordered<JSONValue> in [
                [:], ["tier": "prod"], ["tier": "staging", "tag": "2"], ["tier": "staging", "n": "x"],
            ] {
                await #expect(throws: Problem.self) { try await house.start("p", wrong) }
            }
        }
    }

    @Test func `another pipeline, an artifact, a model, an alert`() async throws {
        try await withOpenHouse { house in
            try await house.apply(
                """
                kind: Pipeline
                name: build
                stages: [{ name: s, jobs: { j: { steps: [{ run: "echo hi > out.txt" }], artifacts: [{ name: out, paths: [out.txt] }] } } }]
                """)
            try await house.apply(Self.pipeline("after", "[{ pipeline: { name: build } }]"))
            try await house.apply(Self.pipeline("ship", "[{ artifact: { pipeline: build, name: s.out } }]"))
            try await house.apply(Self.pipeline("serve", "[{ model: { name: m, alias: champion } }]"))
            try await house.apply(Self.pipeline("heal", "[{ alert: { name: 'disk-*', cooldown: 1h } }]"))
            _ = try await house.start("build")
            #expect(try await Self.runs(house, "after").first?.trigger.type == .pipeline)
            #expect(try await Self.runs(house, "ship").first?.trigger.event?["artifact"]?["name"] == "out")
            for _ in 0..<2 {
                try await house.store.change(.system("test")) { change in
                    _ = try change.tell(
                        "alert.firing", about: Subject(kind: "Alert", project: "default", name: "disk-full"))
                    _ = try change.tell(
                        "model.alias-moved", about: Subject(kind: "Model", project: "default", name: "m"),
                        ["alias": "champion", "from": 0, "to": 1])
                }
            }
            #expect(try await Self.runs(house, "serve", count: 2).first?.trigger.event?["model"]?["version"] == 1)
            #expect(try await Self.runs(house, "heal").count == 1)
        }
    }
}
