import API
import Foundation
import Kernel
import Logging
import Manifests

/// Brings what copies of services print into the store of lines: `{service="x"}`, with the labels `revision` and `copy`.
///
/// Each copy has a file that it writes to whether we are there or not, and a place in it that we have come to
/// (`CopyCursor`). A line counts when it has ended; its time is that of the look that found it.
struct CopyOutputLoop: RunnableLoop {
    let house: TelemetryHouse
    let outputs: @Sendable () async throws -> [CopyOutput]

    var loopName: String { "telemetry-copies" }

    private static let every: Duration = .seconds(1)
    /// Files of one look: with more copies each has its turn less often.
    static let looks = 2_000
    /// Bytes of all copies that are taken before others have the threads of the writers.
    private static let bytes = 4 << 20
    /// How often that is done before the next look: one that prints without end does not keep us from the others.
    private static let rounds = 16

    /// The copies that are known, in the order of their turns.
    struct Book {
        fileprivate var readers: [CopyOutputReader] = []
        fileprivate var byID: [InstanceID: CopyOutputReader] = [:]
        /// The list that was worked off last.
        fileprivate var outputs: [CopyOutput]?
        fileprivate var next = 0
        fileprivate var list = 0
    }

    func run() async throws {
        var book = Book()
        while true {
            do {
                try await look(&book)
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                // The places stay where they are: the next look goes on from there.
                house.logger.warning("the output of copies could not be taken", metadata: ["error": "\(error)"])
            }
            try await house.time.sleep(for: Self.every)
        }
    }

    /// Takes all that has come from those whose turn it is.
    func look(_ book: inout Book) async throws {
        if book.next == 0 { try await list(&book) }
        let turn = book.readers[book.next...].prefix(Self.looks)
        book.next = turn.endIndex < book.readers.endIndex ? turn.endIndex : 0
        var due = turn.filter { !$0.isOver }
        for _ in 0..<Self.rounds where !due.isEmpty {
            let round = CopyOutputRound(readers: due)
            due = try await house.writers.run { [house] in try round.take(house, atMost: Self.bytes) }.readers
            try Task.checkCancellation()
        }
    }

    /// Learns which copies there are, and forgets the places of those that are gone.
    private func list(_ book: inout Book) async throws {
        let outputs = try await outputs()
        if outputs == book.outputs { return }
        book.list += 1
        for output in outputs {
            let reader =
                book.byID[output.id] ?? CopyOutputReader(output, cursor: CopyCursor.path(of: output.id, in: folder))
            if reader.list == 0 {
                book.byID[output.id] = reader
                book.readers.append(reader)
            }
            (reader.output, reader.list) = (output, book.list)
        }
        for reader in book.readers where reader.list != book.list { book.byID[reader.output.id] = nil }
        book.readers.removeAll { $0.list != book.list }
        try await forget(allBut: Set(outputs.map { CopyCursor.name(of: $0.id) }))
        // Last, so that what failed is done again.
        book.outputs = outputs
    }

    private var folder: String { house.folder + "/copies" }

    private func forget(allBut kept: Set<String>) async throws {
        let folder = folder
        try await house.writers.run {
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) where !kept.contains(name) {
                try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
            }
        }
    }
}

/// One go of the loop on a thread of the writers.
private struct CopyOutputRound: @unchecked Sendable {  // its readers are nobody else's until it is handed back
    var readers: [CopyOutputReader]

    /// Blocks. Those that may have more, or were not reached, are what is left.
    func take(_ house: TelemetryHouse, atMost limit: Int) throws -> CopyOutputRound {
        var (left, taken): ([CopyOutputReader], Int) = ([], 0)
        for reader in readers {
            guard taken < limit else {
                left.append(reader)
                continue
            }
            let count = try reader.take(house)
            taken += count
            if count > 0 { left.append(reader) }
        }
        return CopyOutputRound(readers: left)
    }
}
