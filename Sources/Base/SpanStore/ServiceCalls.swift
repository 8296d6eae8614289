/// A call from a service to another within an hour.
struct ServiceCall: Hashable, Sendable {
    /// Hours since 1970.
    let hour: Int64
    let parent: String
    let child: String

    static let hourLength: Int64 = 3_600_000_000_000
}

struct CallCount: Hashable, Sendable {
    var calls = 0
    var errors = 0
}

/// An edge of the service graph.
package struct ServiceDependency: Hashable, Sendable {
    package let parent: String
    package let child: String
    package var calls: Int
    /// Calls whose span in the child ended in an error.
    package var errors: Int
}

/// Counts calls between services, trace by trace.
struct CallCounter {
    private(set) var calls: [ServiceCall: CallCount] = [:]

    /// Adds the spans of one trace: their ids, and their places in the columns.
    mutating func add(_ ids: [SpanIDs], _ places: [Int], _ columns: SpanColumns) {
        var services: [UInt64: UInt32] = [:]
        for (id, place) in zip(ids, places) { services[id.span] = columns.services[place] }
        for (id, place) in zip(ids, places) {
            guard id.parent != 0, let parent = services[id.parent], parent != columns.services[place] else { continue }
            let hour = columns.starts[place] / ServiceCall.hourLength
            let call = ServiceCall(
                hour: hour, parent: columns.names.all[Int(parent)],
                child: columns.names.all[Int(columns.services[place])])
            calls[call, default: CallCount()].calls += 1
            if columns.kinds[place] >> 4 == Span.Status.error.rawValue { calls[call, default: CallCount()].errors += 1 }
        }
    }
}
