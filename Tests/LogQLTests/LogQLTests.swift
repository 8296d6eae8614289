import Glibc
import LogStore
import Segments
import Series
import Testing

@testable import LogQL

private let second: Int64 = 1_000_000_000

/// A store of a few lines in a folder that goes with it.
final class Sample {
    let folder: String
    let engine: LogEngine

    init(_ streams: [(labels: [String: String], lines: [String])], flush: Bool = true) throws {
        var template = Array("/tmp/vagus-logql-XXXXXX".utf8CString)
        guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil else {
            throw LogQLError("no folder")
        }
        folder = template.withUnsafeBufferPointer {
            String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        var limits = LogLimits()
        limits.oldest = nil
        let store = try LogStore(folder, limits: limits)
        for (labels, lines) in streams {
            var page = LogPage()
            for (index, line) in lines.enumerated() {
                let metadata = labels["app"] == "meta" ? Labels(["trace_id": "trace-\(index)"]) : .none
                page.add(Int64(index + 1) * second, line, metadata: metadata)
            }
            _ = try store.append([(Labels(labels), page)], now: 0)
        }
        if flush { try store.flush() }
        engine = LogEngine(store)
    }

    deinit {
        for name in (try? Disk.names(in: folder)) ?? [] { unlink("\(folder)/\(name)") }  // What is left over is in /tmp.
        rmdir(folder)
    }

    func rows(_ query: String) throws -> [LogRow] {
        let answer = try engine.range(LogQuery(query), from: 0, to: 1_000 * second, step: second, limit: 100, .forward)
        guard case .rows(let rows) = answer else { throw LogQLError("not lines") }
        return rows
    }

    /// `{a="b"} 5` for each series of an instant query.
    func figures(_ query: String, at time: Int64) throws -> [String] {
        switch try engine.instant(LogQuery(query), at: time * second, limit: 100) {
        case .rows: throw LogQLError("not figures")
        case .scalar(let numbers): return numbers.map { "\($0)" }
        case .series(let series): return series.map { "\($0.labels) \($0.values[0] ?? .nan)" }
        }
    }
}

@Suite struct LogQLLineTests {
    static let lines = [
        #"{"level":"error","status":500,"took":"1.5s","size":"2KB","user":{"id":7,"tags":["a","b"]},"app":"inner"}"#,
        #"{"level":"info","status":200,"took":"20ms","size":"512B","user":{"id":8}}"#,
        #"level=warn status=404 took=3m msg="not \"there\"" empty= flag path=/a/b"#,
        #"10.0.0.1 - GET "/index.html" 200 ERROR"#,
        "\u{1B}[31mred\u{1B}[0m plain",
        #"{"_entry":"the packed line","pod":"p1"}"#,
    ]

    static func sample() throws -> Sample { try Sample([(["app": "api"], lines), (["app": "meta"], ["one", "two"])]) }

    /// Queries, and which of the lines (from 1) they keep.
    @Test(arguments: [
        (#"{app="api"}"#, [1, 2, 3, 4, 5, 6]),
        (#"{app="api"} |= "status""#, [1, 2, 3]),
        (#"{app="api"} |= "status" != "level=""#, [1, 2]),
        (#"{app="api"} |= "GET" or "packed""#, [4, 6]),
        (#"{app="api"} != "GET" or "packed""#, [1, 2, 3, 5]),
        (#"{app="api"} |~ "stat.s=4\\d+""#, [3]),
        (#"{app="api"} |~ `(?i)error`"#, [1, 4]),
        (#"{app="api"} |~ "^\\d+\\.0""#, [4]),
        (#"{app="api"} !~ "level|packed""#, [4, 5]),
        (#"{app="api"} |> "<_> - GET <_> 200 <_>""#, [4]),
        (#"{app="api"} !> "{<_>}""#, [3, 4, 5]),
        (#"{app="api"} | json | status >= 500"#, [1]),
        (#"{app="api"} | json | status < 500 | __error__="""#, [2]),
        (#"{app="api"} | json | level="error" or status=200"#, [1, 2]),
        (#"{app="api"} | json | level=~"err.*" and status>1"#, [1]),
        (#"{app="api"} | json | (level="error" or level="info") and status<300"#, [2]),
        (#"{app="api"} | json | took > 1s"#, [1]),
        (#"{app="api"} | json | size <= 1KB"#, [2]),
        (#"{app="api"} | json | user_id=8"#, [2]),
        (#"{app="api"} | json tag="user.tags[1]" | tag="b""#, [1]),
        (#"{app="api"} | logfmt | status=404"#, [3]),
        (#"{app="api"} | logfmt | took >= 180s, level="warn""#, [3]),
        (#"{app="api"} | logfmt | msg="not \"there\"""#, [3]),
        (#"{app="api"} | logfmt s="status" | s=404"#, [3]),
        (#"{app="api"} | pattern `<ip> - <method> "<path>" <status> <_>` | method="GET" | status=200"#, [4]),
        (#"{app="api"} | regexp `(?P<verb>GET|PUT) "(?P<path>[^"]+)"` | path="/index.html""#, [4]),
        (#"{app="api"} | decolorize |= "red plain""#, [5]),
        (#"{app="api"} | unpack |= "the packed" | pod="p1""#, [6]),
        (#"{app="api"} | json | line_format "{{.level}}-{{.status}}" |= "error-500""#, [1]),
        (#"{app="api"} | json | app_extracted="inner""#, [1]),
        (#"{app="api"} | json | __error__="JSONParserErr""#, [3, 4, 5]),
        (#"{app=~"a.+", app!="meta"} |= `packed`"#, [6]),
    ])
    func `filters keep the lines they name`(query: String, expected: [Int]) throws {
        let rows = try Self.sample().rows(query)
        #expect(rows.map { Int($0.time / second) } == expected)
    }

    /// Queries on the line given, and the text or label that comes of it.
    @Test(arguments: [
        (0, #"| json | line_format "{{.level | upper}} {{.user_id}}""#, "ERROR 7"),
        (0, #"| json | line_format "{{if eq .level \"error\"}}bad{{else}}good{{end}}!""#, "bad!"),
        (1, #"| json | line_format "{{if eq .level \"error\"}}bad{{else}}good{{end}}!""#, "good!"),
        (2, #"| logfmt | line_format `{{ .path | replace "/" ":" | trunc 3 }}`"#, ":a:"),
        (2, #"| logfmt | line_format `{{ printf "%-5s|%d" .level .status }}`"#, "warn |404"),
        (2, #"| logfmt | line_format `{{ default "none" .nothing }}{{ .path | trimPrefix "/a" }}`"#, "none/b"),
        (2, #"| line_format "{{ substr 0 5 __line__ | title }}""#, "Level"),
        (2, #"| logfmt | line_format "{{ add .status 1 }}""#, "405"),
    ])
    func `templates make the text they describe`(line: Int, stages: String, expected: String) throws {
        let sample = try Sample([(["app": "x"], [Self.lines[line]])])
        #expect(try sample.rows(#"{app="x"} "# + stages).map(\.line) == [expected])
    }

    @Test(arguments: [
        (#"| logfmt | keep level, status"#, ["level": "warn", "status": "404"]),
        (#"| logfmt | drop msg, took, path, app"#, ["level": "warn", "status": "404"]),
        (#"| logfmt | keep level="warn", status="1""#, ["level": "warn"]),
        (#"| logfmt | drop level="info", status=~"4..", app, msg, took, path"#, ["level": "warn"]),
        (
            #"| logfmt | label_format code=status, where="{{.app}}:{{.path}}" | keep code, where"#,
            ["code": "404", "where": "x:/a/b"]
        ),
        (#"| logfmt --keep-empty | keep flag"#, [:]),
        (#"| logfmt level, p="path" | drop app"#, ["level": "warn", "p": "/a/b"]),
    ])
    func `labels are kept, dropped and renamed`(stages: String, expected: [String: String]) throws {
        let sample = try Sample([(["app": "x"], [Self.lines[2]])])
        #expect(try sample.rows(#"{app="x"} "# + stages).map(\.labels) == [Labels(expected)])
    }

    @Test func `metadata are labels, found by their value in memory and on disk`() throws {
        for flush in [true, false] {
            let sample = try Sample([(["app": "meta"], ["one", "two", "three"])], flush: flush)
            let rows = try sample.rows(#"{app="meta"} | trace_id="trace-1""#)
            #expect(rows.map(\.line) == ["two"])
            #expect(rows[0].labels == Labels(["app": "meta", "trace_id": "trace-1"]))
            #expect(rows[0].stream == Labels(["app": "meta"]))
        }
    }

    @Test func `who follows gets the rows that the query would find`() throws {
        let sample = try Self.sample()
        let (_, tail) = try sample.engine.store.follow([LabelMatcher("app", .equal, "api")]) {}
        var page = LogPage()
        page.add(100 * second, "level=error a=1")
        page.add(101 * second, "level=info a=2")
        _ = try sample.engine.store.append([(Labels(["app": "api"]), page)], now: 0)
        let query = try LogQuery(#"{app="api"} | logfmt | level="error" | line_format "{{.a}}""#)
        #expect(tail.take().entries.compactMap { sample.engine.row(query, of: $0)?.line } == ["1"])
    }
}

@Suite struct LogQLMetricTests {
    /// One line a second: t=1…10 of two paths, values 1…10.
    static func sample() throws -> Sample {
        let lines = (1...10).map { #"path=/\#($0 % 2 == 0 ? "even" : "odd") v=\#($0) took=\#($0)ms size=\#($0)KB"# }
        return try Sample([
            (["app": "a", "env": "prod"], lines), (["app": "b", "env": "test"], Array(lines.prefix(4))),
        ])
    }

    @Test(arguments: [
        (#"count_over_time({app="a"}[5s])"#, [#"{app="a", env="prod"} 5.0"#]),
        (#"count_over_time({app="a"} |= "even" [5s])"#, [#"{app="a", env="prod"} 3.0"#]),
        (#"count_over_time({app="a"}[5s] |= "even")"#, [#"{app="a", env="prod"} 3.0"#]),
        (#"count_over_time({app="a"}[5s] offset 5s)"#, [#"{app="a", env="prod"} 5.0"#]),
        (#"rate({app="a"}[10s])"#, [#"{app="a", env="prod"} 1.0"#]),
        (#"bytes_over_time({app="b"}[7s])"#, [#"{app="b", env="test"} 32.0"#]),
        (#"bytes_rate({app="b"}[7s])"#, [#"{app="b", env="test"} \#(32.0 / 7)"#]),
        (#"sum(count_over_time({env=~".+"}[10s]))"#, ["{} 14.0"]),
        (#"sum by (env) (count_over_time({env=~".+"}[10s]))"#, [#"{env="prod"} 10.0"#, #"{env="test"} 4.0"#]),
        (#"sum without (app) (count_over_time({env=~".+"}[10s]))"#, [#"{env="prod"} 10.0"#, #"{env="test"} 4.0"#]),
        (
            #"sum(count_over_time({app="a"} | logfmt [10s])) by (path)"#,
            [#"{path="/even"} 5.0"#, #"{path="/odd"} 5.0"#]
        ),
        (
            #"sum_over_time({app="a"} | logfmt | unwrap v [5s]) by (path)"#,
            [#"{path="/even"} 24.0"#, #"{path="/odd"} 16.0"#]
        ),
        (#"avg_over_time({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 8.0"]),
        (#"min_over_time({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 6.0"]),
        (#"max_over_time({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 10.0"]),
        (#"first_over_time({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 6.0"]),
        (#"last_over_time({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 10.0"]),
        (#"stdvar_over_time({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 2.0"]),
        (#"quantile_over_time(0.5, {app="a"} | logfmt | unwrap v [4s]) by ()"#, ["{} 8.5"]),
        (#"rate({app="a"} | logfmt | unwrap v [5s]) by ()"#, ["{} 8.0"]),
        (#"max_over_time({app="a"} | logfmt | unwrap duration(took) [5s]) by ()"#, ["{} 0.01"]),
        (#"max_over_time({app="a"} | logfmt | unwrap bytes(size) [5s]) by ()"#, ["{} 10000.0"]),
        (#"sum_over_time({app="a"} | logfmt | unwrap v | path="/even" [5s]) by ()"#, ["{} 24.0"]),
        (#"absent_over_time({app="c"}[5s])"#, [#"{app="c"} 1.0"#]),
        (#"absent_over_time({app="a"}[5s])"#, []),
        (#"topk(1, count_over_time({env=~".+"}[10s]))"#, [#"{app="a", env="prod"} 10.0"#]),
        (#"bottomk(1, count_over_time({env=~".+"}[10s]))"#, [#"{app="b", env="test"} 4.0"#]),
        (#"avg(count_over_time({env=~".+"}[10s]))"#, ["{} 7.0"]),
        (#"min(count_over_time({env=~".+"}[10s]))"#, ["{} 4.0"]),
        (#"max(count_over_time({env=~".+"}[10s]))"#, ["{} 10.0"]),
        (#"count(count_over_time({env=~".+"}[10s]))"#, ["{} 2.0"]),
        (#"stddev(count_over_time({env=~".+"}[10s]))"#, ["{} 3.0"]),
        (
            #"sort_desc(count_over_time({env=~".+"}[10s]))"#,
            [#"{app="a", env="prod"} 10.0"#, #"{app="b", env="test"} 4.0"#]
        ),
        (#"sum(count_over_time({app="a"}[10s])) / sum(count_over_time({app="b"}[10s]))"#, ["{} 2.5"]),
        (#"2 * sum(count_over_time({app="a"}[10s])) + 1"#, ["{} 21.0"]),
        (#"sum(count_over_time({app="a"}[10s])) > 5"#, ["{} 10.0"]),
        (#"5 < sum(count_over_time({app="a"}[10s]))"#, ["{} 10.0"]),
        (#"sum(count_over_time({app="a"}[10s])) > 50"#, []),
        (#"sum(count_over_time({app="a"}[10s])) > bool 50"#, ["{} 0.0"]),
        (
            #"count_over_time({app="a"}[10s]) or count_over_time({app="b"}[10s])"#,
            [#"{app="a", env="prod"} 10.0"#, #"{app="b", env="test"} 4.0"#]
        ),
        (
            #"count_over_time({env=~".+"}[10s]) and on (app) count_over_time({app="b"}[10s])"#,
            [#"{app="b", env="test"} 4.0"#]
        ),
        (
            #"count_over_time({env=~".+"}[10s]) unless count_over_time({app="b"}[10s])"#,
            [#"{app="a", env="prod"} 10.0"#]
        ),
        (#"count_over_time({app="a"}[10s]) - ignoring (app, env) count_over_time({app="b"}[10s])"#, ["{} 6.0"]),
        (
            #"count_over_time({app="a"}[10s]) * on () group_left sum(count_over_time({app="b"}[10s]))"#,
            [#"{app="a", env="prod"} 40.0"#]
        ),
        (#"sum(count_over_time({app="c"}[5s])) or vector(0)"#, ["{} 0.0"]),
        (
            #"label_replace(sum by (env) (rate({app="a"}[10s])), "e", "x-$1", "env", "(p).*")"#,
            [#"{e="x-p", env="prod"} 1.0"#]
        ),
        ("2 ^ 3 ^ 2 - 1 * 2", ["510.0"]),
        ("-1 + 2 % 2", ["-1.0"]),
    ])
    func `figures are what they say`(query: String, expected: [String]) throws {
        #expect(try Self.sample().figures(query, at: 10) == expected)
    }

    @Test func `a query over a range gives each step its own window, open at the left`() throws {
        let sample = try Self.sample()
        let answer = try sample.engine.range(
            LogQuery(#"count_over_time({app="b"}[2s])"#), from: 0, to: 7 * second, step: second, limit: 0)
        guard case .series(let series) = answer else { throw LogQLError("not series") }
        #expect(series.map(\.values) == [[nil, 1, 2, 2, 2, 1, nil, nil]])
        let sums = try sample.engine.range(
            LogQuery(#"sum_over_time({app="b"} | logfmt | unwrap v [2s]) by (app)"#), from: 0, to: 7 * second,
            step: second, limit: 0)
        guard case .series(let series) = sums else { throw LogQLError("not series") }
        #expect(series.map(\.values) == [[nil, 1, 3, 5, 7, 4, nil, nil]])
    }

    @Test func `a value that is no number ends the query, unless such lines are left out`() throws {
        let sample = try Sample([(["app": "a"], ["v=1", "v=x", "v=3"])])
        let error = #expect(throws: LogQLError.self) {
            try sample.figures(#"sum_over_time({app="a"} | logfmt | unwrap v [10s])"#, at: 10)
        }
        #expect(error?.message.contains("SampleExtractionErr") == true)
        #expect(
            try sample.figures(#"sum_over_time({app="a"} | logfmt | unwrap v | __error__="" [10s])"#, at: 10) == [
                #"{app="a"} 4.0"#
            ])
    }

    @Test func `times at the ends of the calendar are refused, not computed`() throws {
        let sample = try Self.sample()
        let query = try LogQuery(#"rate({app="a"}[31y] offset -30y)"#)
        for (from, to) in [(Int64.min, Int64.max), (.min, .min), (.max, .max), (0, .max)] {
            #expect(throws: LogQLError.self) {
                try sample.engine.range(query, from: from, to: to, step: .max, limit: 1)
            }
        }
        #expect(throws: Never.self) {
            try sample.engine.range(query, from: -LogEngine.latest / 2, to: LogEngine.latest / 2, step: .max, limit: 1)
        }
        #expect(throws: LogQLError.self) { try LogQuery(#"rate({app="a"}[300y])"#) }
    }

    @Test func `too many steps or series are refused`() throws {
        let sample = try Self.sample()
        var limits = LogEngine.Limits()
        (limits.steps, limits.series) = (10, 1)
        let engine = LogEngine(sample.engine.store, limits: limits)
        let query = try LogQuery(#"rate({app="a"}[1m])"#)
        #expect(throws: LogQLError.self) { try engine.range(query, from: 0, to: 10 * second, step: second, limit: 0) }
        #expect(throws: Never.self) { try engine.range(query, from: 0, to: 9 * second, step: second, limit: 0) }
        #expect(throws: LogQLError.self) {
            try engine.instant(LogQuery(#"rate({app="a"} | logfmt [1m])"#), at: 10 * second, limit: 0)
        }
    }
}

@Suite struct LogQLErrorTests {
    @Test(arguments: [
        ("", 0), ("{", 1), (#"{app="a""#, 8), (#"{app=a}"#, 5), (#"{app="a"} |= "#, 13), (#"{app="a"} | nope"#, 12),
        (#"{app=~"("}"#, 6), (#"{app="a"} |~ "a)(b""#, 13), (#"{app="a"} | regexp "(a)""#, 19), ("{}", 0),
        (#"{app=~".*"}"#, 0), (#"rate({app="a"})"#, 14), (#"sum({app="a"})"#, 4), (#"sum_over_time({app="a"}[5m])"#, 0),
        (#"count_over_time({app="a"} | unwrap v [5m])"#, 0), (#"topk(0, rate({app="a"}[5m]))"#, 5),
        (#"{app="a"} | status > "5""#, 21), (#"{app="a"} | line_format "{{.a""#, 24),
        (#"{app="a"} | pattern "abc""#, 12),
        (#"1 == 1"#, 2), (#"{app="a"} + 1"#, 10), (#"rate({app="a"}[5q])"#, 15), ("\"open", 0), (#"{app="a"} $"#, 10),
        (#"{app="a"} | json x="a[""#, 19), (#"rate({app="a"}[5m]) rate"#, 20),
    ])
    func `an error tells its place`(query: String, position: Int) throws {
        let error = #expect(throws: LogQLError.self) { try LogQuery(query) }
        #expect(error?.position == position, "\(error?.description ?? "none")")
    }

    @Test func `the place counts lines`() throws {
        let error = #expect(throws: LogQLError.self) { try LogQuery("{app=\"a\"}\n  | nope") }
        #expect(error?.description == "parse error at line 2, col 5: unknown stage \"nope\"")
    }

    @Test func `deep nesting and random text end in an error, never in a crash`() throws {
        #expect(throws: LogQLError.self) { try LogQuery(String(repeating: "(", count: 50_000)) }
        #expect(throws: LogQLError.self) { try LogQuery(#"{app="a"} | "# + String(repeating: "(", count: 50_000)) }
        #expect(throws: LogQLError.self) { try LogQuery(String(repeating: "1^", count: 10_000) + "1") }
        let sum = Array(repeating: #"rate({app="a"}[5m])"#, count: 3_000).joined(separator: " + ")
        #expect(throws: LogQLError.self) { try LogQuery(sum) }
        let choice = Array(repeating: "a=1", count: 20_000).joined(separator: " or ")
        #expect(throws: LogQLError.self) { try LogQuery(#"{app="a"} | "# + choice) }
        for nested in ["{{if .a}}", "{{ (", "{{ lower (lower ", "{{.a | lower"] {
            let template = String(repeating: nested, count: 5_000)
            #expect(throws: LogQLError.self) { try LogQuery(#"{app="a"} | line_format `"# + template + "`") }
        }
        let pieces = [
            "{", "}", "app", "=", "\"a\"", "|=", "|", "json", "[5m]", "sum", "(", ")", "by", "rate", "unwrap", "5",
            "or", "-", ",",
            "line_format", "`{{.a}}`", "offset", "topk", "~", "!=",
        ]
        let seed = UInt64.random(in: 0...(.max))
        print("seed \(seed)")
        var state = seed
        for _ in 0..<5_000 {
            var text = ""
            for _ in 0..<12 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                text += pieces[Int(state >> 33) % pieces.count] + " "
            }
            _ = try? LogQuery(text)  // Most are no query.
        }
    }

    @Test func `a selector can be read alone`() throws {
        #expect(
            try LogQuery.selector(#"{app="a", env!~"x.*"}"#) == [
                LabelMatcher("app", .equal, "a"), LabelMatcher("env", .doesNotMatch, "x.*"),
            ])
        #expect(throws: LogQLError.self) { try LogQuery.selector(#"{app="a"} |= "x""#) }
    }
}
