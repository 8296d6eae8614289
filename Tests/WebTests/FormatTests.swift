import API
import Testing

@testable import Web

struct FormatTests {
    @Test(arguments: [
        (0.0, "0s"), (0.0021, "2.1 ms"), (0.25, "250 ms"), (3.04, "3.0s"), (12, "12s"), (184, "3m 04s"),
        (4020, "1h 07m"),
        (183_600, "2d 3h"), (-5, "0s"), (.nan, "–"),
    ])
    func `durations`(seconds: Double, text: String) { #expect(Format.duration(seconds) == text) }

    @Test(arguments: [
        (0.0, "0"), (0.73121, "0.7312"), (12.4, "12.40"), (204.4, "204.4"), (1204.4, "1,204"), (68785, "68,785"),
        (-3, "−3"),
        (0.00000031, "3.1e−7"), (.nan, "NaN"), (.infinity, "∞"), (-0.0127, "−0.0127"),
    ])
    func `numbers`(value: Double, text: String) { #expect(Format.number(value) == text) }

    @Test(arguments: [(0.1, "0.1"), (0.05, "0.05"), (5, "5"), (1.25, "1.25")])
    func `limits are written as people write them`(value: Double, text: String) { #expect(Format.plain(value) == text) }

    @Test(arguments: [(0.124, "12.4 %"), (0.0465, "4.65 %"), (1, "100 %"), (0.0000436, "0.0044 %")])
    func `shares`(value: Double, text: String) { #expect(Format.percent(value) == text) }

    @Test(arguments: [(512, "512 B"), (1_400_000, "1.4 MB"), (52_000, "52 kB")])
    func `sizes`(value: Int, text: String) { #expect(Format.bytes(value) == text) }

    @Test(arguments: [
        (0.0, "1970-01-01T00:00:00Z"), (1_795_426_087, "2026-11-23T09:28:07Z"), (951_782_400, "2000-02-29T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ])
    func `moments`(seconds: Double, text: String) { #expect(Moment(seconds).rfc3339 == text) }

    @Test(arguments: [
        (3.0, "just now"), (40, "40s ago"), (260, "4 min ago"), (7300, "2 h ago"), (200_000, "2 d ago"),
        (-120, "in 2 min"),
    ])
    func `ages`(seconds: Double, text: String) { #expect(Format.ago(seconds) == text) }

    @Test func `every run status has a look of its own word`() {
        for status in RunStatus.allCases {
            let badge = Badge(status: status.rawValue)
            #expect(badge.text.lowercased() == status.rawValue)
            #expect(badge.icon != "unknown", "\(status)")
        }
    }

    @Test(arguments: [
        ("git:Ana Ruiz <ana@example.com>", "Ana Ruiz"), ("token:ci", "ci"), ("user:dev", "dev"), ("odd", "odd"),
        ("git:<a@b>", "<a@b>"),
    ])
    func `actors are called by their names`(actor: String, name: String) { #expect(RunWords.person(actor) == name) }

    @Test func `links encode what is not plain`() {
        #expect(Links.run("a b/c", job: "x/y") == "/runs/a%20b%2Fc?job=x%2Fy")
        #expect(Substring("a%20b%2Fc").removingPercentEncoding(limit: 100) == "a b/c")
        #expect(Substring("%FF").removingPercentEncoding(limit: 100) == nil)
        #expect(Substring("%2").removingPercentEncoding(limit: 100) == nil)
        #expect(Substring("abcd").removingPercentEncoding(limit: 3) == nil)
    }

    @Test func `a stage stands as what needs eyes first`() {
        #expect(RunStages.status([.succeeded, .failed, .running]) == .failed)
        #expect(RunStages.status([.succeeded, .queued]) == .running)
        #expect(RunStages.status([.succeeded, .skipped]) == .succeeded)
        #expect(RunStages.status([.skipped]) == .skipped)
    }

    @Test(arguments: [(8 << 30, "8Gi"), (24_684_092 << 10, "23.5Gi"), (512 << 20, "512Mi")] as [(Int64, String)])
    func `memory is told as manifests ask for it`(bytes: Int64, text: String) { #expect(Format.memory(bytes) == text) }

    @Test func `yaml is coloured and escaped`() {
        let html = YAMLMarkup.coloured("# note\nname: <b>\n  - run: a\n\"odd key\": 1\n").text
        #expect(html.contains("<span class=\"c\"># note</span>"))
        #expect(html.contains("<span class=\"k\">name</span>: &lt;b&gt;"))
        #expect(html.contains("  - <span class=\"k\">run</span>: a"))
    }

    @Test func `only finished markup is put in as it is`() throws {
        let allowed: Set<String> = [
            "body", "lines", "strip", "spark", "split", ".wide", ".narrow", ".marked", ".bar", ".swatch", ".strip",
            ".spark", ".split",
            ".lines", ".yaml", ".statusYAML", ".html",
        ]
        for (name, bytes) in Embedded.all where name.hasSuffix(".mustache") {
            for match in String(decoding: bytes, as: UTF8.self).matches(of: /\{\{\{([^}]*)\}\}\}/) {
                #expect(allowed.contains(String(match.1)), "\(name): \(match.1)")
            }
            #expect(!String(decoding: bytes, as: UTF8.self).contains("{{&"), "\(name)")
        }
    }
}
