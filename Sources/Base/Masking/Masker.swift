/// Masks one stream.
///
/// Bytes that may yet turn out to begin a secret are held back until more has come; ``flush(into:)`` lets them go.
public struct Masker: Sendable {
    public private(set) var set: MaskSet
    private var state: Int32 = 0
    /// Bytes that are not out yet, from `head` on.
    private var held: [UInt8] = []
    private var head = 0
    /// Place in the stream behind the last byte that was read.
    private var position = 0
    /// What secrets cover of the held bytes, as places in the stream: in order, never touching each other.
    private var covered: [Range<Int>] = []
    /// The last byte that went out was covered: what touches it belongs to the same mask.
    private var isMasking = false
    private static let mask = Array(Masking.mask.utf8)

    public init(_ set: MaskSet) { self.set = set }
    public init(secrets: [String]) { self.init(MaskSet(secrets: secrets)) }

    /// Takes bytes; adds to `out` what is certain.
    public mutating func feed(_ bytes: [UInt8], into out: inout [UInt8]) { feed(bytes[...], into: &out) }

    /// Takes bytes; adds to `out` what is certain.
    public mutating func feed(_ bytes: ArraySlice<UInt8>, into out: inout [UInt8]) {
        if set.isEmpty {
            out += bytes
            return
        }
        bytes.withUnsafeBufferPointer { input in
            var index = 0
            while index < input.count {
                if state == 0 {
                    // Nothing is held here, as the root has depth 0.
                    let start = index
                    index = set.beginning(in: input, from: start)
                    if index > start {
                        out.append(contentsOf: UnsafeBufferPointer(rebasing: input[start..<index]))
                        position += index - start
                        isMasking = false
                    }
                    if index == input.count { return }
                }
                read(input[index], into: &out)
                index += 1
            }
        }
    }

    private mutating func read(_ byte: UInt8, into out: inout [UInt8]) {
        held.append(byte)
        position += 1
        step(byte, at: position)
        release(to: position - Int(set.states[Int(state)].depth), into: &out)
    }

    private mutating func step(_ byte: UInt8, at end: Int) {
        state = set.next(state, byte)
        let length = Int(set.states[Int(state)].longest)
        if length > 0 { cover(end - length..<end) }
    }

    /// The stream has ended, or shall be seen as it is: lets go of what is held.
    public mutating func flush(into out: inout [UInt8]) {
        state = 0
        release(to: position, into: &out)
    }

    /// From now on these are the secrets, among them all that were known before.
    public mutating func know(_ more: MaskSet) {
        set = more
        state = 0
        let before = covered
        covered = []
        var end = position - (held.count - head)
        for byte in held[head...] {
            end += 1
            step(byte, at: end)
        }
        // What began in bytes that are out already is not found again.
        let all = (before + covered).sorted { $0.upperBound < $1.upperBound }
        covered = []
        for span in all { cover(span) }
    }

    /// Adds an occurrence; they come in the order of their ends.
    private mutating func cover(_ found: Range<Int>) {
        var low = found.lowerBound
        while let last = covered.last, last.upperBound >= low {
            low = min(low, last.lowerBound)
            covered.removeLast()
        }
        covered.append(low..<found.upperBound)
    }

    /// Lets go of what lies before a place in the stream.
    private mutating func release(to end: Int, into out: inout [UInt8]) {
        var at = position - (held.count - head)
        while at < end {
            let span = covered.first
            if let span, span.lowerBound <= at {
                if !isMasking { out += Self.mask }
                isMasking = true
                let next = min(span.upperBound, end)
                head += next - at
                at = next
                if at == span.upperBound { covered.removeFirst() }
            } else {
                let next = min(span?.lowerBound ?? end, end)
                out.append(contentsOf: held[head..<head + (next - at)])
                isMasking = false
                head += next - at
                at = next
            }
        }
        if head == held.count {
            held.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 4096, head > held.count / 2 {
            held.removeFirst(head)
            head = 0
        }
    }
}
