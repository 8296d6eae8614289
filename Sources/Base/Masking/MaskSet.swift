/// All forms of some secrets as one automaton; made once, read by many.
public struct MaskSet: Sendable {
    /// One state: what has been read so far is the longest beginning of a form that the stream ends with.
    struct State: Sendable {
        /// Children lie side by side; none: `children` is 0.
        var firstChild: Int32 = 0
        var children: Int32 = 0
        /// Where to go on when no child fits: the next shorter beginning of a form that the stream ends with.
        var failure: Int32 = 0
        /// Bytes of the form read so far: those that cannot be let go yet.
        var depth: Int32 = 0
        /// Length of the longest form that ends here; 0: none does.
        var longest: Int32 = 0
    }

    let states: [State]
    /// The byte that leads into each state.
    private let bytes: [UInt8]
    /// From the root, where nearly all bytes are read: a table of its own.
    private let root: [Int32]
    /// Whether two bytes begin some form: a bit for each pair, first byte low.
    private let pairs: [UInt64]
    /// Secrets that are too short to be masked.
    public let unmaskable: Int
    private let secrets: Set<String>

    /// - Parameter secrets: Values; those shorter than ``Masking/shortest`` bytes are only counted.
    public init(secrets: some Sequence<String>) {
        let known = Set(secrets).filter { !$0.isEmpty }
        self.secrets = known
        unmaskable = known.count { $0.utf8.count < Masking.shortest }
        let forms = known.reduce(into: Set<[UInt8]>()) { $0.formUnion(Forms.all(of: $1)) }
        (states, bytes) = Self.automaton(forms.sorted { $0.lexicographicallyPrecedes($1) })
        var root = [Int32](repeating: 0, count: 256)
        var pairs = [UInt64](repeating: 0, count: 1024)
        for child in states[0].range {
            root[Int(bytes[child])] = Int32(child)
            for next in states[child].range {
                let pair = Int(bytes[child]) | Int(bytes[next]) << 8
                pairs[pair >> 6] |= 1 << UInt64(pair & 63)
            }
        }
        (self.root, self.pairs) = (root, pairs)
    }

    /// Whether nothing is masked.
    public var isEmpty: Bool { states.count == 1 }

    /// The same with one secret more.
    public func adding(_ secret: String) -> MaskSet { MaskSet(secrets: secrets.union([secret])) }

    /// The text with all secrets masked.
    public func mask(_ text: String) -> String {
        if isEmpty { return text }
        var masker = Masker(self)
        var out: [UInt8] = []
        masker.feed(Array(text.utf8)[...], into: &out)
        masker.flush(into: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// Whether the text holds a secret in any form.
    public func covers(_ text: String) -> Bool {
        if isEmpty { return false }
        var state: Int32 = 0
        for byte in text.utf8 {
            state = next(state, byte)
            if states[Int(state)].longest > 0 { return true }
        }
        return false
    }

    // MARK: Reading

    @inline(__always)
    func next(_ from: Int32, _ byte: UInt8) -> Int32 {
        var state = from
        while state != 0 {
            let here = states[Int(state)]
            var child = here.firstChild
            let end = child + here.children
            while child < end {
                if bytes[Int(child)] == byte { return child }
                child += 1
            }
            state = here.failure
        }
        return root[Int(byte)]
    }

    /// The first place from `start` on where a form may begin; the end when there is none.
    @inline(__always)
    func beginning(in input: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        pairs.withUnsafeBufferPointer { pairs in
            var index = start
            let last = input.count - 1
            while index < last {
                let pair = Int(input[index]) | Int(input[index + 1]) << 8
                if pairs[pair >> 6] & (1 << UInt64(pair & 63)) != 0 { return index }
                index += 1
            }
            // The last byte's companion has not come yet.
            return index == last && root[Int(input[index])] == 0 ? index + 1 : index
        }
    }

    // MARK: Making

    /// The states in order of their depth, from sorted forms: those with one beginning lie side by side.
    private static func automaton(_ forms: [[UInt8]]) -> ([State], [UInt8]) {
        var states = [State()]
        var bytes: [UInt8] = [0]
        /// The forms that pass through each state.
        var spans = [0..<forms.count]
        var parents: [Int32] = [0]
        var index = 0
        while index < states.count {
            let depth = Int(states[index].depth)
            var low = spans[index].lowerBound
            let high = spans[index].upperBound
            while low < high, forms[low].count == depth { low += 1 }
            if low > spans[index].lowerBound { states[index].longest = Int32(depth) }
            states[index].firstChild = Int32(states.count)
            while low < high {
                let byte = forms[low][depth]
                var end = low + 1
                while end < high, forms[end][depth] == byte { end += 1 }
                states.append(State(depth: Int32(depth + 1)))
                bytes.append(byte)
                spans.append(low..<end)
                parents.append(Int32(index))
                low = end
            }
            states[index].children = Int32(states.count) - states[index].firstChild
            index += 1
        }
        states[0].longest = 0
        func child(_ state: Int32, _ byte: UInt8) -> Int32? {
            states[Int(state)].range.first { bytes[$0] == byte }.map(Int32.init)
        }
        // In order of depth, so that what a failure leads to is known already.
        for index in states.indices.dropFirst() where states[index].depth > 1 {
            var back = states[Int(parents[index])].failure
            while back != 0, child(back, bytes[index]) == nil { back = states[Int(back)].failure }
            let failure = child(back, bytes[index]) ?? 0
            states[index].failure = failure
            states[index].longest = max(states[index].longest, states[Int(failure)].longest)
        }
        return (states, bytes)
    }
}

extension MaskSet.State {
    var range: Range<Int> { Int(firstChild)..<Int(firstChild + children) }
}
