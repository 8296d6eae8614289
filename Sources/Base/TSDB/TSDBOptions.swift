package import Series

/// How a store behaves.
///
/// Times and distances are milliseconds.
package struct TSDBOptions: Sendable {
    /// What an acknowledged append has survived.
    package enum Durability: Sendable {
        /// The kernel has it: a `kill -9` of the process loses nothing, a power cut what was not synced since
        /// `sync()`.
        case written
        /// The disk has it.
        case synced
    }

    /// Series of one label set, for which samples are kept otherwise than by default.
    package struct RetentionRule: Sendable {
        package var matchers: [LabelMatcher]
        /// 0 keeps for ever.
        package var duration: Int64

        package init(_ matchers: [LabelMatcher], _ duration: Int64) {
            self.matchers = matchers
            self.duration = duration
        }
    }

    package static let minute: Int64 = 60_000
    package static let hour: Int64 = 60 * minute
    package static let day: Int64 = 24 * hour

    package var durability = Durability.written
    /// What a block that is cut from the head covers; blocks grow from it by threes.
    package var blockRange = 2 * hour
    /// No block grows longer than this.
    package var blockRangeAtMost = 27 * 2 * hour
    /// How much older than the newest sample of the store one may be and still go in behind newer ones of its series.
    ///
    /// 0: not.
    package var outOfOrderWindow: Int64 = 0
    /// How far behind `now` a sample may lie in the future, when an append says what time it is.
    package var futureLimit = 10 * minute
    /// Samples older than this before the newest are let go.
    ///
    /// 0 keeps for ever.
    package var retention = 15 * day
    /// The first rule that matches a series goes before `retention`; it may be longer or shorter.
    package var retentionRules: [RetentionRule] = []
    /// Oldest blocks go when all blocks together are larger.
    ///
    /// 0: no bound.
    package var retentionBytes = 0
    /// Blocks that end so long before the newest sample get a 5 m and a 1 h copy; nil: no downsampling.
    package var downsampleAfter: Int64? = 40 * hour
    /// How long the 5 m and the 1 h copies are kept.
    ///
    /// 0 keeps for ever.
    package var retentionOfFiveMinutes = 90 * day
    package var retentionOfHours = 2 * 365 * day

    /// Size at which the log goes on in another file.
    package var segmentBytes = 64 << 20
    /// The head is cut even while old ranges still fill, once it holds so many samples.
    package var headSamplesAtMost = 100_000_000

    package var seriesAtMost = 10_000_000
    package var labelsAtMost = 64
    package var nameBytesAtMost = 1_024
    package var valueBytesAtMost = 16_384
    package var exemplarsAtMost = 100_000
    package var metadataAtMost = 100_000

    package init() {}
}

/// What opening a store found that was not whole.
package struct RecoveryReport: Sendable, Hashable {
    package var segments = 0
    package var records = 0
    package var samples = 0
    package var series = 0
    package var blocks = 0
    /// One line for each thing that was dropped or put aside, with the file, the place and why.
    package var dropped: [String] = []
}

/// What became of a batch.
///
/// A sample that was refused does not spoil the others.
package struct AppendResult: Sendable, Hashable {
    package enum Reason: String, Sendable {
        case outOfOrder = "out of order sample"
        case conflict = "duplicate sample for timestamp"
        case tooOld = "out of bounds: too old"
        case tooFarInFuture = "out of bounds: too far in the future"
        case limit = "limit"
        case malformed = "malformed labels"
    }

    package struct Refusal: Sendable, Hashable {
        package let reason: Reason
        /// What was refused, and the limit it broke.
        package let message: String
    }

    /// More refusals than this are only counted.
    package static let refusalsNamed = 10

    package var accepted = 0
    /// Samples that were there already, with the same value: fine, and nothing was done.
    package var duplicates = 0
    package var exemplars = 0
    package private(set) var counts: [Reason: Int] = [:]
    package private(set) var refusals: [Refusal] = []

    package var refused: Int { counts.values.reduce(0, +) }

    mutating func refuse(_ reason: Reason, _ message: @autoclosure () -> String) {
        counts[reason, default: 0] += 1
        if refusals.count < Self.refusalsNamed { refusals.append(Refusal(reason: reason, message: message())) }
    }
}

/// What a metric is, as its exporter says.
package struct MetricMetadata: Sendable, Hashable {
    package var type: String
    package var help: String
    package var unit: String

    package init(type: String, help: String, unit: String) {
        self.type = type
        self.help = help
        self.unit = unit
    }
}

/// A sample's example: where to look for what it counted.
package struct Exemplar: Sendable, Hashable {
    package var labels: Labels
    package var time: Int64
    package var value: Double

    package init(labels: Labels, time: Int64, value: Double) {
        self.labels = labels
        self.time = time
        self.value = value
    }
}
