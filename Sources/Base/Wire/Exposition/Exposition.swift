/// What a target answers to a scrape, in any of the formats that Prometheus reads.
package enum Exposition: Sendable, CaseIterable {
    /// `text/plain; version=0.0.4`.
    case text
    /// `application/openmetrics-text; version=1.0.0`.
    case openMetrics
    /// `application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`.
    case protobuf

    /// The header that asks for all of them; protobuf first, as it alone carries native histograms.
    package static let accept =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        + "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
        + "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"

    /// The format of an answer; what is not told apart is read as text, as Prometheus's fallback does.
    package init(contentType: String) {
        let type = contentType.lowercased().filter { $0 != " " }
        if type.hasPrefix("application/vnd.google.protobuf") {
            self = .protobuf
        } else if type.hasPrefix("application/openmetrics-text") {
            self = .openMetrics
        } else {
            self = .text
        }
    }

    package var contentType: String {
        switch self {
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case .protobuf:
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
    }

    /// Reads a scrape.
    ///
    /// - Parameters:
    ///   - body: The whole answer, decompressed.
    ///   - time: When it was asked for, in milliseconds since 1970: the time of samples that have none of their own.
    ///   - batch: Gets series and metadata appended; to be thrown away when this throws.
    ///   - keepsClassicBuckets: Whether a histogram that has native buckets gives its classic ones as well.
    /// - Throws: `WireError`; of the text formats it names the line.
    package func parse(
        _ body: [UInt8], at time: Int64, into batch: inout WriteBatch, keepsClassicBuckets: Bool = false
    ) throws {
        try body.withUnsafeBufferPointer { bytes in
            if self == .protobuf {
                let parser = MetricFamilyParser(time: time, keepsClassicBuckets: keepsClassicBuckets)
                try parser.parse(bytes, into: &batch)
            } else {
                var parser = ExpositionTextParser(bytes, isOpenMetrics: self == .openMetrics, time: time)
                try parser.parse(into: &batch)
            }
        }
    }
}
