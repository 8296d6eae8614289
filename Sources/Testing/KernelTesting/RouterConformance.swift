import API
package import Kernel
import Manifests
import Synchronization

/// A router under test, what stands behind it, and a client in front of it.
package struct RouterSubject: Sendable {
    package var router: any TrafficRouter
    /// At least three servers; each answers 200 with `NAME PATH`, the path as it came.
    package var backends: [RouterBackend]
    /// Asks at the router's address; `closes` does not keep the connection.
    package var ask: @Sendable (RouterAsk) async throws -> RouterAnswer

    package init(
        router: any TrafficRouter, backends: [RouterBackend],
        ask: @escaping @Sendable (RouterAsk) async throws -> RouterAnswer
    ) {
        (self.router, self.backends, self.ask) = (router, backends, ask)
    }
}

package struct RouterBackend: Sendable {
    package var name: String
    package var port: Int
    package init(name: String, port: Int) { (self.name, self.port) = (name, port) }
}

package struct RouterAsk: Sendable {
    package var host = "test"
    package var path: String
    package var headers: [(String, String)] = []
    package var closes = false
}

package struct RouterAnswer: Sendable {
    package var status: Int
    package var body: String
    package init(status: Int, body: String) { (self.status, self.body) = (status, body) }
}

/// One sentence of the contract of ``TrafficRouter``, and how it is held against an implementation.
package struct RouterCheck: Sendable {
    package var name: String
    package var body: @Sendable (RouterTrial) async throws -> Void

    package func run(on subject: RouterSubject) async throws { try await body(RouterTrial(subject)) }

    package static let all = [
        RouterCheck(name: "requests are shared by weight") { trial in
            for (weights, share) in [([90, 10], 0.1), ([50, 50], 0.5), ([1, 99], 0.99)] {
                try await trial.take(trial.table(weights))
                let names = try await trial.names(1_000)
                let seen = names.count { $0 == trial.backend(1).name }
                // Four standard deviations where shares are drawn.
                let slack = trial.has(.exactWeights) ? 0 : 4 * (1_000 * share * (1 - share)).squareRoot()
                try trial.expect(
                    abs(Double(seen) - 1_000 * share) <= slack, "\(weights): \(seen) of 1,000 for the second")
            }
        },
        RouterCheck(name: "a revision with several copies has its share as a whole") { trial in
            try await trial.take(
                trial.table([
                    trial.revision(1, weight: 80, [0, 1]), trial.revision(2, weight: 20, [2]),
                ]))
            let seen = try await trial.names(1_000).count { $0 == trial.backend(2).name }
            let slack = trial.has(.exactWeights) ? 0 : 51
            try trial.expect(abs(seen - 200) <= slack, "\(seen) of 1,000 for the second revision")
        },
        RouterCheck(name: "a table is in force when it has been taken") { trial in
            for round in 0..<6 {
                let (on, off) = (round % 2, 1 - round % 2)
                try await trial.take(trial.table(on == 0 ? [100, 0] : [0, 100]))
                let names = try await trial.names(40)
                try trial.expect(
                    !names.contains(trial.backend(off).name), "round \(round): the other revision still answers")
            }
        },
        RouterCheck(name: "a rule leads to its revision whatever the weights") { trial in
            var route = trial.route([trial.revision(1, weight: 100, [0]), trial.revision(2, weight: 0, [1])])
            route["rules"] = [
                ["name": "staff", "when": [["header": "X-Staff", "exact": "yes"]], "revision": "2"],
                ["name": "beta", "when": [["cookie": "group", "prefix": "beta"]], "revision": "2"],
                [
                    "name": "tools", "revision": "2",
                    "when": [
                        ["header": "User-Agent", "regex": "curl/[0-9.]+"], ["header": "X-Debug", "present": true],
                    ],
                ],
            ]
            try await trial.take([.object(route)])
            let cases: [([(String, String)], Int)] = [
                ([], 0), ([("X-Staff", "yes")], 1), ([("X-Staff", "YES")], 0), ([("X-Staff", "yes!")], 0),
                ([("Cookie", "a=b; group=beta-7")], 1), ([("Cookie", "group=alpha")], 0),
                ([("User-Agent", "curl/8.1"), ("X-Debug", "1")], 1), ([("User-Agent", "curl/8.1")], 0),
                ([("User-Agent", "xcurl/8.1"), ("X-Debug", "1")], 0),
            ]
            for (headers, wanted) in cases {
                for _ in 0..<3 {
                    let answer = try await trial.get("/", headers: headers)
                    try trial.expect(
                        answer.body.hasPrefix(trial.backend(wanted).name), "\(headers) goes to \(answer.body)")
                }
            }
        },
        RouterCheck(name: "the host, then the longest prefix, finds the route, at slashes only") { trial in
            let routes = [
                trial.route([trial.revision(1, weight: 1, [0])], service: "t/all"),
                trial.route([trial.revision(1, weight: 1, [1])], service: "t/a", prefix: "/a"),
                trial.route([trial.revision(1, weight: 1, [2])], service: "t/ab", prefix: "/a/b", strips: false),
                trial.route([trial.revision(1, weight: 1, [2])], service: "t/shop", hosts: ["shop.test"]),
            ]
            try await trial.take(routes.map { .object($0) })
            let cases = [
                ("test", "/", 0, "/"), ("test", "/ax", 0, "/ax"), ("test", "/a", 1, "/"), ("test", "/a/", 1, "/"),
                ("test", "/a/x?y=1", 1, "/x?y=1"), ("test", "/a/b/c", 2, "/a/b/c"), ("shop.test", "/z", 2, "/z"),
                ("Shop.Test", "/z", 2, "/z"),
            ]
            for (host, path, wanted, seen) in cases {
                let answer = try await trial.get(path, host: host)
                let body = "\(trial.backend(wanted).name) \(seen)"
                try trial.expect(answer.body == body, "\(host)\(path) gives \(answer.body) and not \(body)")
            }
        },
        RouterCheck(name: "what the table does not name is not routed") { trial in
            try await trial.take(trial.table([1, 1]))
            let all = try await trial.get("/")
            try trial.expect(all.status == 200, "/ is answered \(all.status) while it is named")
            try await trial.take([.object(trial.route([trial.revision(1, weight: 1, [0])], prefix: "/only"))])
            let only = try await trial.get("/only")
            try trial.expect(only.status == 200, "/only is answered \(only.status) while it is named")
            let answer = try await trial.get("/")
            try trial.expect(answer.status == 404 || answer.status == 503, "/ is answered \(answer.status)")
            try await trial.take([])
            let nothing = try await trial.get("/only")
            try trial.expect(nothing.status == 404 || nothing.status == 503, "/only is answered \(nothing.status)")
        },
        RouterCheck(name: "copies and weights change under load without a lost request") { trial in
            try await trial.take(trial.table([100, 0]))
            let asked = try await trial.underLoad { more in
                for round in 0..<8 {
                    try await more(15)
                    let copies = [[0], [0, 1], [1], [1, 2]][round % 4]
                    try await trial.take(
                        trial.table([
                            trial.revision(1, weight: 100 - round * 10, copies),
                            trial.revision(2, weight: round * 10, [2]),
                        ]))
                }
            }
            try trial.expect(asked.lost.isEmpty, "\(asked.lost.count) of \(asked.count): \(asked.lost.first ?? "")")
            try trial.expect(asked.count > 100, "only \(asked.count) requests")
        },
        RouterCheck(name: "each request is counted once, with its revision") { trial in
            guard trial.has(.counts) else {
                return try trial.expect(try await trial.isSilent(), "it counts what it says that it cannot count")
            }
            try await trial.take(trial.table([75, 25]))
            let before = try await trial.settledCounts(atLeast: 0)
            let names = try await trial.names(200)
            try await trial.take(trial.table([0, 100]))
            let more = try await trial.names(100)
            let seen = try await trial.settledCounts(atLeast: before.reduce(0, +) + 300)
            for index in 0..<2 {
                let wanted = Int64((names + more).count { $0 == trial.backend(index).name })
                let counted = seen[index] - before[index]
                try trial.expect(counted == wanted, "revision \(index + 1): \(counted) counted, \(wanted) answered")
            }
        },
        RouterCheck(name: "the same table again changes nothing, and what cannot be done is refused whole") { trial in
            let table = trial.table([0, 100])
            try await trial.take(table)
            try await trial.take(table)
            let taken = try await trial.get("/")
            try trial.expect(taken.body.hasPrefix(trial.backend(1).name), "the table is not in force: \(taken.body)")
            var route = trial.route([trial.revision(1, weight: 100, [0]), trial.revision(2, weight: 0, [1])])
            route["sticky"] = ["cookie": "vg_rev"]
            do {
                try await trial.take([.object(route)])
                try trial.expect(trial.has(.sticky), "it takes what it does not say it can")
            } catch let problem as Problem {
                try trial.expect(!trial.has(.sticky) && problem.code == "router.cannot", "\(problem.message)")
                let answer = try await trial.get("/")
                try trial.expect(answer.body.hasPrefix(trial.backend(1).name), "the table before is gone")
            }
        },
    ]
}

/// What one check works with.
package struct RouterTrial: Sendable {
    private let subject: RouterSubject

    init(_ subject: RouterSubject) { self.subject = subject }

    func has(_ trait: RouterTraits) -> Bool { subject.router.traits.contains(trait) }
    func backend(_ index: Int) -> RouterBackend { subject.backends[index] }

    func expect(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws {
        guard holds else { throw ConformanceFailure(description: otherwise()) }
    }

    // MARK: - Tables

    func revision(_ number: Int, weight: Int, _ backends: [Int]) -> JSONValue {
        let endpoints = backends.map { index -> JSONValue in
            [
                "host": "127.0.0.1", "port": .integer(Int64(backend(index).port)),
                "instance": .string(backend(index).name),
            ]
        }
        return [
            "revision": .string("\(number)"), "weight": .integer(Int64(weight)), "endpoints": .array(endpoints),
        ]
    }

    func route(
        _ revisions: [JSONValue], service: String = "t/web", prefix: String? = nil, strips: Bool = true,
        hosts: [String] = []
    ) -> Ordered<JSONValue> {
        var route: Ordered<JSONValue> = [
            "service": .string(service), "hosts": .array(hosts.map { .string($0) }), "strip_prefix": .bool(strips),
            "revisions": .array(revisions), "retry": true, "timeout_ms": 5_000,
        ]
        if let prefix { route["path_prefix"] = .string(prefix) }
        return route
    }

    /// One service for every path, one copy a revision.
    func table(_ weights: [Int]) -> [JSONValue] {
        table(weights.enumerated().map { revision($0.offset + 1, weight: $0.element, [$0.offset]) })
    }

    func table(_ revisions: [JSONValue]) -> [JSONValue] { [.object(route(revisions))] }

    func take(_ routes: [JSONValue]) async throws {
        var table = RoutingTable()
        table.version = 1
        table.routes = routes
        try await subject.router.take(table)
    }

    // MARK: - Requests

    func get(_ path: String, host: String = "test", headers: [(String, String)] = []) async throws -> RouterAnswer {
        try await subject.ask(
            RouterAsk(host: host, path: path, headers: headers, closes: !has(.keepsConnections)))
    }

    /// Who answered each of so many requests.
    func names(_ count: Int) async throws -> [String] {
        var names: [String] = []
        for _ in 0..<count {
            let answer = try await get("/")
            try expect(answer.status == 200, "answered \(answer.status): \(answer.body)")
            names.append(String(answer.body.prefix { $0 != " " }))
        }
        return names
    }

    /// Keeps asking while `body` works.
    /// `body` is given what waits until so many more were answered.
    func underLoad(
        _ body: @escaping @Sendable (_ more: @Sendable (Int) async throws -> Void) async throws -> Void
    ) async throws -> (count: Int, lost: [String]) {
        let answered = Tally()
        return try await withThrowingTaskGroup(of: (Int, [String])?.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var (count, lost) = (0, [String]())
                    while !Task.isCancelled {
                        do {
                            let answer = try await get("/")
                            if answer.status != 200 { lost.append("\(answer.status) \(answer.body)") }
                        } catch {
                            // What the end of the test has cut off is not lost.
                            if Task.isCancelled { break }
                            lost.append("\(error)")
                        }
                        count += 1
                        answered.add()
                    }
                    return (count, lost)
                }
            }
            group.addTask {
                try await body { wanted in
                    let goal = answered.value + wanted
                    while answered.value < goal { try await SystemTime().sleep(for: .milliseconds(2)) }
                }
                return nil
            }
            var total = (count: 0, lost: [String]())
            while let found = try await group.next() {
                guard let (count, lost) = found else {
                    group.cancelAll()
                    continue
                }
                total = (total.count + count, total.lost + lost)
            }
            return total
        }
    }

    /// Whether nothing is counted at all.
    func isSilent() async throws -> Bool { try await subject.router.counts().revisions.isEmpty }

    /// Requests counted for revisions 1 and 2, once as many are counted as there were; what comes late is waited for.
    func settledCounts(atLeast wanted: Int64) async throws -> [Int64] {
        let time = SystemTime()
        let end = time.now.advanced(by: .seconds(10))
        while true {
            let counts = try await subject.router.counts().revisions.filter { $0.service == "t/web" }
            let numbers = (1...2).map { number in counts.first { $0.revision == number }?.requests ?? 0 }
            if numbers.reduce(0, +) >= wanted || time.now > end { return numbers }
            try await time.sleep(for: .milliseconds(50))
        }
    }
}

/// A sum that several tasks may touch.
private final class Tally: Sendable {
    private let sum = Mutex(0)
    var value: Int { sum.withLock { $0 } }
    func add() { sum.withLock { $0 += 1 } }
}
