/// The memory of one chunk.
///
/// An open one is written only behind what any snapshot has seen; a sealed one never again.
final class ChunkStore: ManagedBuffer<ChunkStore.Size, UInt64> {
    struct Size {
        var bytes: Int
        var words: Int
    }

    /// Room for so many words, and the padding that a bit reader wants.
    static func make(words: Int) -> ChunkStore {
        let made = create(minimumCapacity: words + BitReader.padding / 8) { _ in Size(bytes: 0, words: words) }
        return unsafeDowncast(made, to: ChunkStore.self)
    }

    static func make(_ bytes: [UInt8]) -> ChunkStore {
        let store = make(words: (bytes.count + 7) / 8)
        store.header.bytes = bytes.count
        store.withUnsafeMutablePointerToElements { target in
            bytes.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress else { return }
                UnsafeMutableRawPointer(target).copyMemory(from: start, byteCount: bytes.count)
            }
        }
        return store
    }

    @inline(__always)
    var memory: UnsafeMutablePointer<UInt64> { withUnsafeMutablePointerToElements { $0 } }

    var chunk: ChunkBytes { ChunkBytes(bytes) }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: header.bytes) }
}

/// A chunk that takes no more samples.
struct SealedChunk {
    let store: ChunkStore
    let first: Int64
    let last: Int64
    let count: Int
}
