import Series
import Testing

@testable import Wire

/// Bytes from hexadecimal digits; white space is passed over.
func hex(_ text: String) -> [UInt8] {
    let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue.map(UInt8.init) }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// A small generator whose numbers follow from its seed (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Reads mutations of a valid payload: whatever they are, the decoder returns or throws a `WireError`.
///
/// - Parameter seed: Printed with what went wrong, and to be put here to see it again.
func fuzz(
    _ valid: [UInt8], seed: UInt64 = .random(in: 0...UInt64.max), rounds: Int = 2_000,
    _ decode: ([UInt8]) throws -> Void, sourceLocation: SourceLocation = #_sourceLocation
) {
    // To standard output first, so that a crash leaves its seed behind.
    print("fuzz seed \(seed)")
    var random = SeededRandom(seed)
    var refused = 0
    for round in 0..<rounds {
        let input = mutated(valid, using: &random)
        do {
            try decode(input)
        } catch is WireError {
            refused += 1
        } catch {
            Issue.record("seed \(seed), round \(round): \(error)", sourceLocation: sourceLocation)
        }
    }
    #expect(refused > 0, "seed \(seed): no mutation was refused", sourceLocation: sourceLocation)
}

private func mutated(_ valid: [UInt8], using random: inout SeededRandom) -> [UInt8] {
    var bytes = valid
    for _ in 0..<Int.random(in: 1...4, using: &random) {
        guard !bytes.isEmpty else { break }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...9, using: &random)))
        case 3:
            bytes.insert(
                contentsOf: [0xff, 0xff, 0xff, 0xff, 0x7f].prefix(Int.random(in: 1...5, using: &random)), at: place)
        case 4: bytes.insert(contentsOf: bytes[..<place].suffix(40), at: place)
        default: bytes.removeSubrange(place...)
        }
    }
    return bytes
}
