import API
import Manifests
import Series

/// One place to scrape, with all that it takes.
struct Target: Sendable, Identifiable {
    /// How it is reached.
    enum Way: Sendable, Equatable {
        case http
        /// This process itself: no connection, no token.
        case own
    }

    var way = Way.http
    /// Nobody asked for it: when it shows nothing, that is no failure.
    var isTentative = false
    var project: String
    var spec: ScrapeSpec
    var job: String
    var url: String
    /// What its series get.
    var labels: [String: String]
    /// As it was found, before relabelling.
    var discovered: [String: String]
    var interval: TimeSpan
    var timeout: TimeSpan

    /// Tells it from others: the same target with other labels is another one.
    let id: String

    /// - Returns: Nil when relabelling drops it, or leaves no address.
    init?(_ address: String, _ given: [String: String], _ owned: TelemetryPlan.Owned<ScrapeSpec>, usual: TimeSpan) {
        let spec = owned.part
        (project, self.spec) = (owned.project, spec)
        interval = spec.interval ?? usual
        timeout = min(spec.timeout ?? .seconds(10), interval)
        var found = given
        for (name, value) in spec.labels where found[name] == nil { found[name] = value }
        found["job"] = found["job"] ?? spec.job
        found["__address__"] = address
        found["__scheme__"] = found["__scheme__"] ?? spec.scheme.rawValue
        found["__metrics_path__"] = found["__metrics_path__"] ?? spec.path
        for (name, value) in spec.params { found["__param_\(name)"] = value }
        discovered = found
        var labels = found
        guard Relabelling(spec.relabel).apply(&labels), let host = labels["__address__"], !host.isEmpty else {
            return nil
        }
        var url = "\(labels["__scheme__"] ?? "http")://\(host)\(labels["__metrics_path__"] ?? "/metrics")"
        let parameters = labels.filter { $0.key.hasPrefix("__param_") }.sorted { $0.key < $1.key }
        for (index, one) in parameters.enumerated() {
            url += (index == 0 ? "?" : "&") + Self.encoded(String(one.key.dropFirst(8))) + "=" + Self.encoded(one.value)
        }
        labels["instance"] = labels["instance"] ?? host
        job = labels["job"] ?? spec.job
        self.url = url
        self.labels = labels.filter { !$0.key.hasPrefix("__") && !$0.value.isEmpty }
        id = Self.id(project, job, url, self.labels)
    }

    private static func id(_ project: String, _ job: String, _ url: String, _ labels: [String: String]) -> String {
        "\(project)\n\(job)\n\(url)\n\(Labels(labels))"
    }

    /// This process.
    init(own interval: TimeSpan) {
        way = .own
        project = ""
        spec = ScrapeSpec()
        (job, url) = ("vagus", "vagus:/metrics")
        labels = ["job": "vagus", "instance": "vagus"]
        discovered = labels
        self.interval = interval
        timeout = interval
        id = Self.id(project, job, url, labels)
    }

    private static func encoded(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default: out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }
}
