import API
import Blobs
import Kernel
import Logging
import Manifests
import SQL

/// Deletes content that no row names any more: what expired artifacts, evicted caches and refused uploads leave behind.
///
/// Every room tells the texts in which digests stand (`Domain.namesOfContent`); a digest that is a tree holds the files
/// of the tree too. What was put or claimed within the grace is spared, since its row may be on its way. Killed at any
/// moment, nothing is lost: rows go first, their content later, and a sweep begins anew.
struct BlobSweep: RunnableLoop {
    let store: Store
    let blobs: BlobStore
    let rooms: [any Domain]
    let logger: Logger
    var loopName: String { "blob-sweep" }

    /// Time between content's arrival, or its last claim, and the first sweep that may take it.
    static let grace: Duration = .seconds(86_400)
    /// Time between two sweeps.
    static let interval: Duration = .seconds(3600)
    private static let scheme = "sha256:"

    func run() async throws {
        while true {
            try await store.time.sleep(for: Self.interval)
            do {
                let outcome = try await sweep(isDry: false)
                if outcome.deleted > 0 {
                    logger.info(
                        "swept content that nothing names",
                        metadata: ["blobs": "\(outcome.deleted)", "bytes": "\(outcome.deleted_bytes)"])
                }
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                // A disk that fails now may do better in an hour; nothing depends on this sweep.
                logger.error("could not sweep content", metadata: ["error": "\(error)"])
            }
        }
    }

    func route(_ routes: inout Routes) {
        routes.on(Storage.sweep) { input, _ in try await self.sweep(isDry: input.dry_run) }
    }

    func sweep(isDry: Bool) async throws -> SweepOutcome {
        var outcome = SweepOutcome()
        outcome.dry_run = isDry
        try await blobs.sweepTemporaries()
        let moment = store.time.now.advanced(by: .zero - Self.grace).microseconds / 1_000_000
        // Rows are read after the moment was fixed: whatever a later row names has been claimed after it.
        let held = try await held()
        var last: Digest?
        while true {
            let page = try await blobs.list(after: last, limit: 1000)
            guard let end = page.last else { return outcome }
            last = end.digest
            for entry in page {
                try Task.checkCancellation()
                if held.contains(entry.digest) {
                    outcome.held += 1
                    outcome.held_bytes += entry.size
                    continue
                }
                let isOld = try await blobs.claimedAt(entry.digest).map { $0 < moment } ?? false
                let isGone =
                    isDry ? isOld : isOld ? try await blobs.deleteUnclaimed(entry.digest, since: moment) : false
                if isGone {
                    outcome.deleted += 1
                    outcome.deleted_bytes += entry.size
                } else {
                    outcome.young += 1
                }
            }
        }
    }

    /// Every digest that some row names, with the files of those that are trees.
    private func held() async throws -> Set<Digest> {
        let rooms = rooms
        let named = try await store.read { sql in
            var named: Set<Digest> = []
            for room in rooms {
                for text in try room.namesOfContent(in: sql) { named.formUnion(Self.digests(in: text)) }
            }
            return named
        }
        var held = named
        for room in rooms {
            for text in try await room.namesOfOwnContent() { held.formUnion(Self.digests(in: text)) }
        }
        for digest in named { held.formUnion(try await Tree.files(namedBy: digest, in: blobs)) }
        return held
    }

    /// The digests that stand in a text.
    static func digests(in text: String) -> [Digest] {
        let length = scheme.utf8.count + 64
        let bytes = Array(text.utf8)
        var found: [Digest] = []
        var index = 0
        while index + length <= bytes.count {
            guard bytes[index] == UInt8(ascii: "s"), bytes[index...].starts(with: scheme.utf8),
                let digest = Digest(String(decoding: bytes[index..<(index + length)], as: UTF8.self))
            else {
                index += 1
                continue
            }
            found.append(digest)
            index += length
        }
        return found
    }
}
