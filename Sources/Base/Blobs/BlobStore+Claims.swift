import Glibc

// Who may forget a blob, and when.
//
// A blob is first put, then named by a row somewhere: between the two nothing holds it. So whoever is about to name one
// claims it: its time of change becomes now, and a sweep spares what has been claimed within its grace. A sweep takes a
// blob away by renaming it first and looking at its time then, so that a claim that came in between is heard.

extension BlobStore {
    /// Tells whether the blob is there, and keeps sweeps from it for their time of grace.
    package func claim(_ digest: Digest) async throws -> Bool {
        try await threads.run { try claimNow(digest) }
    }

    /// Claims many; gives those that are not there, in the order given.
    package func absent(_ digests: [Digest]) async throws -> [Digest] {
        var absent: [Digest] = []
        for start in stride(from: 0, to: digests.count, by: Self.claimsAtOnce) {
            let piece = digests[start..<min(start + Self.claimsAtOnce, digests.count)]
            absent += try await threads.run { try piece.filter { try !claimNow($0) } }
        }
        return absent
    }

    private static let claimsAtOnce = 256

    func claimNow(_ digest: Digest) throws(BlobError) -> Bool {
        if utimensat(AT_FDCWD, path(of: digest), nil, 0) == 0 { return true }
        guard errno == ENOENT else { throw Files.error(errno, "claim the blob \(digest)") }
        return false
    }

    /// Seconds since 1970 at which the blob was put or last claimed; nil when there is none.
    package func claimedAt(_ digest: Digest) async throws -> Int64? {
        try await threads.run {
            var status = stat()
            guard lstat(path(of: digest), &status) == 0 else { return nil }
            return Int64(status.st_mtim.tv_sec)
        }
    }

    /// Deletes a blob unless it was put or claimed at or after `moment` (seconds since 1970); true when it is gone now.
    ///
    /// A kill in the middle leaves it among the temporaries, which the next `sweepTemporaries` removes.
    package func deleteUnclaimed(_ digest: Digest, since moment: Int64) async throws -> Bool {
        try await threads.run {
            let (path, aside) = (path(of: digest), temporaryPath())
            guard rename(path, aside) == 0 else {
                if errno == ENOENT { return false }
                throw Files.error(errno, "put the blob \(digest) aside")
            }
            var status = stat()
            if lstat(aside, &status) == 0, Int64(status.st_mtim.tv_sec) >= moment {
                // Claimed at the last moment: back to its place, unless it was put anew meanwhile.
                if link(aside, path) != 0, errno != EEXIST { throw Files.error(errno, "put the blob \(digest) back") }
                _ = unlink(aside)
                return false
            }
            guard unlink(aside) == 0 else { throw Files.error(errno, "delete the blob \(digest)") }
            return true
        }
    }
}

extension Tree {
    /// Claims a tree with all its files; false when something of it is not there.
    package static func claim(_ digest: Digest, in store: BlobStore) async throws -> Bool {
        guard try await store.claim(digest) else { return false }
        let files = try await open(digest, from: store).entries.compactMap(\.digest)
        return try await store.absent(files).isEmpty
    }

    /// The files that a blob names, if it is the manifest of a folder; empty when it is anything else.
    package static func files(namedBy digest: Digest, in store: BlobStore) async throws -> [Digest] {
        guard try await store.exists(digest) else { return [] }
        let reader = try await store.open(digest)
        let start = try await reader.read(at: 0, count: manifestStart.count)
        guard reader.size <= manifestLimit, start == manifestStart else { return [] }
        do {
            return try await open(digest, from: store).entries.compactMap(\.digest)
        } catch let error as BlobError where error.code == .invalid || error.code == .tooLarge {
            // It only begins like one.
            return []
        }
    }

    private static let manifestStart = Array("{\"entries\":".utf8)
}
