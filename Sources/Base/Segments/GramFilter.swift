/// Which runs of four bytes a block of text holds: enough to say of most blocks that they cannot hold a longer piece of text.
///
/// A word that is looked for may stand anywhere in a line, also within a longer word, so whole words cannot be the key. Every
/// window of four bytes (case folded) sets one bit; a needle is in the block only if all bits of its windows are set. One hash
/// function, because a needle of n bytes already asks for n - 3 bits. The filter errs on one side only: "maybe".
package enum GramFilter {
    package static let gramBytes = 4
    /// Bits that a filter is made with; afterwards it is folded in half while it stays sparse enough.
    static let widest = 1 << 18
    static let narrowest = 1 << 9
    /// Above this share of set bits a filter is not folded any further.
    static let density = 0.3

    /// Sets the bits of one text; made once and used for many blocks.
    package struct Builder: Sendable {
        private var words = [UInt64](repeating: 0, count: widest / 64)

        package init() {}

        package mutating func add(_ text: UnsafeBufferPointer<UInt8>) {
            guard text.count >= gramBytes else { return }
            let raw = UnsafeRawBufferPointer(text)
            words.withUnsafeMutableBufferPointer { words in
                for offset in 0...(text.count - gramBytes) {
                    let bit = GramFilter.bit(raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self), widest)
                    words[bit >> 6] |= 1 << UInt64(bit & 63)
                }
            }
        }

        /// The filter of all that was added, as bytes; the builder is empty afterwards.
        package mutating func finish() -> [UInt8] {
            var folded = words
            while folded.count * 64 > narrowest {
                let half = folded.count / 2
                let next = (0..<half).map { folded[$0] | folded[$0 + half] }
                let set = next.reduce(0) { $0 + $1.nonzeroBitCount }
                if Double(set) > density * Double(half * 64) { break }
                folded = next
            }
            for index in words.indices { words[index] = 0 }
            return folded.withUnsafeBytes { Array($0) }
        }
    }

    /// The windows of a needle, as hashes; none when it is too short to tell anything.
    package static func grams(of needle: [UInt8]) -> [UInt32] {
        guard needle.count >= gramBytes else { return [] }
        return needle.withUnsafeBytes { raw in
            (0...(needle.count - gramBytes)).map { raw.loadUnaligned(fromByteOffset: $0, as: UInt32.self) }
        }
    }

    /// False only if the block cannot hold the needle.
    package static func mayHold(_ grams: [UInt32], in filter: UnsafeRawBufferPointer) -> Bool {
        let bits = filter.count * 8
        guard bits >= narrowest, bits & (bits - 1) == 0 else { return true }
        return grams.allSatisfy { gram in
            let bit = bit(gram, bits)
            return filter[bit >> 3] & (1 << UInt8(bit & 7)) != 0
        }
    }

    /// Folding in half keeps the low bits of the hash, so a bit of a narrow filter is that of the wide one modulo its width.
    @inline(__always)
    private static func bit(_ gram: UInt32, _ bits: Int) -> Int {
        let folded = UInt32(littleEndian: gram) | 0x2020_2020
        let hash = folded &* 0x9E37_79B1
        return Int(hash ^ (hash >> 15)) & (bits - 1)
    }
}
