import Synchronization

/// Shares requests among weights exactly, whichever loop they come in on.
///
/// The order in which revisions take turns is written out once, as smooth weighted round robin gives it (each turn,
/// every weight is added to its own credit; the greatest credit goes next and pays the sum: nginx, commit 52327e0627f4).
/// It repeats after `sum / gcd` turns, and a request takes its turn by one atomic addition shared by all loops. So
/// *any* run of requests whose length is a multiple of the period holds exactly the wanted shares: with weights that
/// sum to 100, each 1,000 requests in a row, and each 100. When the period does not divide 1,000, the shares are
/// within one request of the ideal. Sums whose period is beyond `ProxyConfiguration.scheduleLimit` are rounded to
/// that many parts (largest remainder), never to nothing.
final class WeightSchedule: Sendable {
    /// Index of the revision for each turn of the period.
    let order: [UInt16]
    private let turn = Atomic<UInt64>(0)

    /// A schedule, or nil when no weight is positive; negative weights count as 0.
    init?(weights: [Int]) {
        let positive = Self.reduced(weights.map { max(0, $0) })
        let sum = positive.reduce(0, +)
        guard sum > 0, weights.count <= Int(UInt16.max) else { return nil }
        var credit = Array(repeating: 0, count: positive.count)
        var order: [UInt16] = []
        order.reserveCapacity(sum)
        for _ in 0..<sum {
            var best = -1
            for index in positive.indices where positive[index] > 0 {
                credit[index] += positive[index]
                if best < 0 || credit[index] > credit[best] { best = index }
            }
            credit[best] -= sum
            order.append(UInt16(best))
        }
        self.order = order
    }

    /// Index of the revision whose turn it is; safe from every loop at once.
    func next() -> Int {
        guard order.count > 1 else { return Int(order[0]) }
        let ticket = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return Int(order[Int(ticket % UInt64(order.count))])
    }

    /// The same shares in the smallest whole numbers, at most `scheduleLimit` in sum.
    static func reduced(_ weights: [Int]) -> [Int] {
        let divisor = weights.reduce(0, gcd)
        guard divisor > 0 else { return weights }
        let small = weights.map { $0 / divisor }
        let sum = small.reduce(0.0) { $0 + Double($1) }
        let limit = ProxyConfiguration.scheduleLimit
        guard sum > Double(limit) else { return small }
        let ideal = small.map { Double($0) / sum * Double(limit) }
        var parts = zip(ideal, small).map { ideal, weight in weight == 0 ? 0 : max(1, Int(ideal)) }
        let missing = limit - parts.reduce(0, +)
        if missing > 0 {
            let byRemainder = ideal.indices.sorted { ideal[$0] - Double(parts[$0]) > ideal[$1] - Double(parts[$1]) }
            for index in byRemainder.prefix(missing) { parts[index] += 1 }
        }
        return parts
    }

    private static func gcd(_ a: Int, _ b: Int) -> Int {
        b == 0 ? a : gcd(b, a % b)
    }
}
