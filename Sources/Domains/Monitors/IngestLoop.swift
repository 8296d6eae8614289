import API
import Blobs
import Glibc
import Kernel
import SQL

/// Reads prediction logs into the tables, each line once.
///
/// How far a file was read is written in the transaction of its rows; and a prediction's id is kept once, so that even
/// a file that is read again from its beginning changes nothing.
struct IngestLoop: Reconciler {
    static let name = "monitors.ingest"
    static let topics: Set<String> = [MonitorKind.name]
    /// Files tell nobody that they grew.
    static let pause = Duration.seconds(1)
    let store: Store
    let folder: String
    let threads: WorkerThreads

    func keys() async throws -> [Reference<ServiceKind>] {
        try await store.read { try $0.watchedServices() }
    }

    func reconcile(_ service: Reference<ServiceKind>) async throws -> Next {
        let folder = "\(folder)/\(service.project)/\(service.name)"
        let segments = try await threads.run { Segment.list(folder) }
        let marks = try await store.read { try $0.segments(of: service) }
        for segment in segments {
            let begin = Self.begin(of: segment, marks[segment.file])
            guard segment.size > begin else { continue }
            let batch = try await threads.run { try SegmentBatch.read("\(folder)/\(segment.file)", from: begin) }
            guard batch.end > begin else { continue }
            try await keep(batch, of: segment, service)
            return .now
        }
        try await tidy(segments, marks, folder, service)
        return .again(in: Self.pause)
    }

    /// Where to read on: at the beginning when it is another file of the same name.
    private static func begin(of segment: Segment, _ mark: SegmentMark?) -> Int64 {
        guard let mark, mark.inode == segment.inode, mark.readBytes <= segment.size else { return 0 }
        return mark.readBytes
    }

    private func keep(_ batch: SegmentBatch, of segment: Segment, _ service: Reference<ServiceKind>) async throws {
        try await store.change(.system(MonitorsDomain.name)) { change in
            let sql = change.sql
            var waiting: [String: Double] = [:]
            if try sql.hasWaitingLabels(of: service) {
                let ids = batch.predictions.map(\.id)
                for start in stride(from: 0, to: ids.count, by: Labelling.idsAQuery) {
                    let part = ids[start..<min(start + Labelling.idsAQuery, ids.count)]
                    waiting.merge(try sql.takeWaiting(part, of: service)) { $1 }
                }
            }
            var hours = HourChanges()
            for prediction in batch.predictions {
                let label = waiting[prediction.id]
                guard try sql.insert(prediction, label: label, of: service) else { continue }
                hours.row(at: prediction.moment, isLabelled: label != nil)
            }
            try sql.note(hours, garbage: batch.garbage, of: service, at: change.now)
            try sql.mark(segment.file, SegmentMark(inode: segment.inode, readBytes: batch.end), of: service)
        }
    }

    /// Deletes files that were read and whose writer has gone on, and forgets files that are gone.
    private func tidy(
        _ segments: [Segment], _ marks: [String: SegmentMark], _ folder: String, _ service: Reference<ServiceKind>
    ) async throws {
        let finished = Segment.finished(segments, marks)
        if !finished.isEmpty {
            try await threads.run { for segment in finished { unlink("\(folder)/\(segment.file)") } }
        }
        let there = Set(segments.map(\.file)).subtracting(finished.map(\.file))
        let gone = marks.keys.filter { !there.contains($0) }.sorted()
        guard !gone.isEmpty else { return }
        try await store.change(.system(MonitorsDomain.name)) { try $0.sql.unmark(gone, of: service) }
    }
}
