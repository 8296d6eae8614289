package import Series

/// What a store takes. Times are nanoseconds.
package struct LogLimits: Sendable, Hashable {
    /// Bytes of one line.
    package var lineBytes = 256 << 10
    /// Whether a longer line is cut off at its limit instead of refused.
    package var cutsLongLines = false
    package var labelsPerStream = 15
    package var labelNameBytes = 1_024
    package var labelValueBytes = 2_048
    /// Bytes of the structured metadata of one entry.
    package var metadataBytes = 64 << 10
    /// Streams that have entries in the store.
    package var streams = 10_000
    /// How far an entry may lie behind the newest one of its stream.
    package var window: Int64 = 3_600_000_000_000
    /// How far an entry may lie before now; nil takes any.
    package var oldest: Int64? = 7 * 86_400_000_000_000
    /// How far an entry may lie after now.
    package var ahead: Int64 = 600_000_000_000
    /// Bytes of lines in memory before they become a segment.
    package var headBytes = 64 << 20
    /// Age of the oldest entry in memory at which `maintain` makes a segment.
    package var headAge: Int64 = 2 * 3_600_000_000_000
    /// Bytes of text in a block.
    package var blockBytes = 256 << 10
    /// Queues of those who follow the log.
    package var tails = 100

    package init() {}
}

/// Why entries were not taken.
package struct LogRefusal: Sendable, Hashable {
    package enum Reason: String, Sendable {
        case noLabels = "missing_labels"
        case labelName = "label_name_too_long"
        case labelValue = "label_value_too_long"
        case tooManyLabels = "max_label_names_per_series"
        case tooManyStreams = "stream_limit"
        case lineTooLong = "line_too_long"
        case metadataTooLarge = "structured_metadata_too_large"
        case tooOld = "greater_than_max_sample_age"
        case tooFarBehind = "too_far_behind"
        case tooFarAhead = "too_far_in_future"
    }

    package let reason: Reason
    package let stream: Labels
    package var entries: Int
    /// One clause with the offender and the limit.
    package let message: String
}

/// What became of a push.
package struct LogReceipt: Sendable, Hashable {
    package var accepted = 0
    package var bytes = 0
    /// Accepted lines that lost their end.
    package var cut = 0
    /// Accepted entries that the store had already.
    package var repeated = 0
    package var refusals: [LogRefusal] = []

    package var refused: Int { refusals.reduce(0) { $0 + $1.entries } }
}
