import API
import Kernel
import Logging
import Manifests
import Outbound
import Series
import Wire

/// Sends on what waits for other stores: samples by remote write, lines by Loki's push. One that does not answer is tried again
/// later and later, and holds back no other.
struct RemoteLoop: RunnableLoop {
    let house: TelemetryHouse
    let outbound: OutboundClient
    let secrets: any SecretSource

    var loopName: String { "telemetry-remote" }

    private static var tick: Duration { .seconds(1) }
    private static var longestWait: Int { 30 }
    /// Requests to one other in one round.
    private static var burst: Int { 100 }

    func run() async throws {
        var waits: [String: (seconds: Int, left: Int)] = [:]
        while true {
            try await house.time.sleep(for: Self.tick)
            let (samples, lines) = (house.remotes.all, house.exports.queues)
            let known = Set(samples.map { "w/\($0.name)" } + lines.map { "l/\($0.endpoint.url)" })
            waits = waits.filter { known.contains($0.key) }
            for (key, wait) in waits where wait.left > 0 { waits[key]?.left = wait.left - 1 }
            let resting = Set(waits.filter { $0.value.left > 0 }.keys)
            let outcomes = await withTaskGroup(of: (String, Bool).self) { tasks in
                for queue in samples where !resting.contains("w/\(queue.name)") {
                    tasks.addTask { ("w/\(queue.name)", await send(queue)) }
                }
                for queue in lines where !resting.contains("l/\(queue.endpoint.url)") {
                    tasks.addTask { ("l/\(queue.endpoint.url)", await send(queue)) }
                }
                return await tasks.reduce(into: [(String, Bool)]()) { $0.append($1) }
            }
            try Task.checkCancellation()
            for (key, isWell) in outcomes {
                let next = isWell ? 0 : min(Self.longestWait, max(1, (waits[key]?.seconds ?? 0) * 2))
                waits[key] = isWell ? nil : (next, next)
            }
        }
    }

    private enum Outcome {
        case taken
        /// It will never be taken.
        case refused(String)
        /// Later perhaps.
        case failed(String)
    }

    /// Sends what waits; false when the other does not take it now.
    private func send(_ queue: RemoteQueue) async -> Bool {
        for _ in 0..<Self.burst {
            guard let (batch, end) = queue.next() else { return true }
            for body in RemoteWrite.encode(batch) {
                let headers = [
                    ("Content-Type", "application/x-protobuf"), ("Content-Encoding", "snappy"),
                    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
                ]
                switch await post(body, headers, queue.owned.part.to, queue.owned.project) {
                case .taken: continue
                case .refused(let why):
                    // What the other refuses now it refuses for ever: it would only hold back the rest.
                    queue.done(batch, end: end, error: why, isLost: true)
                    house.drops.add("remote write \(queue.name): refused by the other", batch.sampleCount)
                    return true
                case .failed(let why):
                    queue.failed(why)
                    return false
                }
            }
            queue.done(batch, end: end, error: nil, isLost: false)
        }
        return true
    }

    private func send(_ queue: LokiQueue) async -> Bool {
        for _ in 0..<Self.burst {
            let streams = queue.take()
            if streams.isEmpty { return true }
            let url = queue.endpoint.url
            var endpoint = queue.endpoint
            if !url.hasSuffix("/loki/api/v1/push") {
                endpoint.url = (url.hasSuffix("/") ? String(url.dropLast()) : url) + "/loki/api/v1/push"
            }
            let headers = [("Content-Type", "application/json")]
            switch await post(Self.body(streams), headers, endpoint, queue.owned.project) {
            case .taken: queue.done(streams, error: nil)
            case .refused(let why): queue.done(streams, error: why)
            case .failed(let why):
                queue.putBack(streams, error: why)
                return false
            }
        }
        return true
    }

    private static func body(_ streams: [IncomingStream]) -> [UInt8] {
        var out = JSONOut()
        out.raw("{\"streams\":[")
        for (index, stream) in streams.enumerated() {
            out.comma(index)
            out.raw("{\"stream\":")
            out.labels(stream.labels)
            out.raw(",\"values\":[")
            for (index, entry) in stream.entries.enumerated() {
                out.comma(index)
                out.raw("[\"\(entry.time)\",")
                out.text(entry.line)
                if !entry.metadata.isEmpty {
                    out.raw(",")
                    out.labels(.init(entry.metadata))
                }
                out.raw("]")
            }
            out.raw("]}")
        }
        out.raw("]}")
        return out.bytes
    }

    private func post(
        _ body: [UInt8], _ more: [(String, String)], _ endpoint: EndpointSpec, _ project: String
    ) async -> Outcome {
        do {
            var headers = more + [("User-Agent", "vagus")]
            let access = Access(project: project, secret: endpoint.token_secret, username: endpoint.username)
            if let authorization = try await access.header(secrets) { headers.append(("Authorization", authorization)) }
            for (name, value) in endpoint.headers { headers.append((name, value)) }
            let response = try await outbound.send(
                HTTPRequest("POST", url: endpoint.url, headers: headers, body: .bytes(body)),
                deadline: endpoint.timeout.duration, limit: 1 << 20)
            if response.isSuccess { return .taken }
            let message = "HTTP \(response.status): \(response.text.prefix(200))"
            return response.status == 429 || response.status >= 500 ? .failed(message) : .refused(message)
        } catch let problem as Problem {
            return .failed(problem.message)
        } catch {
            return .failed("\(error)")
        }
    }
}
