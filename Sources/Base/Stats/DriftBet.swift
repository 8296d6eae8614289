import Glibc

/// Where values lie within a reference sample: 0 at its low end, 1 at its high end.
package struct ReferenceRank: Sendable, Equatable {
    /// How many reference values there are.
    package var count: Int { sorted.count }
    /// Mean distance of the reference's own ranks from the middle: 1/4 without ties.
    package let spread: Double
    private let sorted: [Double]

    package init(_ reference: [Double]) throws(StatsError) {
        try StatsError.require(reference, atLeast: 2, "the reference")
        sorted = reference.sorted()
        var sum = 0.0
        var start = 0
        while start < sorted.count {
            var end = start
            while end < sorted.count, sorted[end] == sorted[start] { end += 1 }
            let rank = Double(start + end) / 2 / Double(sorted.count)
            sum += Double(end - start) * abs(rank - 0.5)
            start = end
        }
        spread = sum / Double(sorted.count)
    }

    /// Share of the reference below a value, with half of those equal to it.
    package func rank(_ value: Double) -> Double {
        Double(bound { $0 < value } + bound { $0 <= value }) / 2 / Double(sorted.count)
    }

    /// How many values at the front pass a test that none passes after the first that does not.
    private func bound(_ isBefore: (Double) -> Bool) -> Int {
        var (low, high) = (0, sorted.count)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(sorted[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Evidence of drift in one feature that may be looked at after every window: wealth of four bets against "no drift".
///
/// Bets on ranks u within the reference: that they lie higher, lower, further out or further in than the reference's own
/// by more than `epsilon`. A bet's wealth is Π(1 + λᵢ(xᵢ - ε)), its stake λ being learnt from the past only (aGRAPA;
/// Waudby-Smith and Ramdas 2024) and within 0...1. Evidence is the mean of the four. `epsilon` ≥ 1/√m takes up that a
/// reference of m values is not the truth. State is small and can be stored.
package struct DriftBet: Sendable, Codable, Equatable {
    /// What a stake is learnt from: payoffs of the past.
    private struct Past: Sendable, Codable, Equatable {
        var count = 0.0
        var sum = 0.0
        var squares = 0.0

        /// Kelly's stake for the mean and variance so far, with a start as of one uniform rank.
        var stake: Double {
            let mean = sum / (count + 1)
            let second = (squares + 1.0 / 12) / (count + 1)
            return mean > 0 && second > 0 ? min(1, mean / second) : 0
        }

        mutating func add(_ payoff: Double) {
            count += 1
            sum += payoff
            squares += payoff * payoff
        }

        mutating func fade(_ factor: Double) {
            count *= factor
            sum *= factor
            squares *= factor
        }
    }

    /// One bet: its wealth with a stake learnt from all the past, and its restarting sum with one of the recent past.
    private struct Bet: Sendable, Codable, Equatable {
        var wealth = 0.0
        /// There is no money before the first window; nil, as JSON has no infinity.
        var restarted: Double?
        var all = Past()
        var recent = Past()

        mutating func take(_ payoffs: [Double]) {
            var growth = 0.0
            for payoff in payoffs {
                wealth += log1p(all.stake * payoff)
                growth += log1p(recent.stake * payoff)
                all.add(payoff)
                recent.add(payoff)
            }
            restarted = Special.logSumExp([restarted ?? -.infinity, 0]) + growth
            recent.fade(DriftBet.memory)
        }
    }

    /// What a window counts less with each later one, for the stakes of the restarting sum: about five are remembered.
    private static let memory = 0.8

    /// How far from the reference a mean rank may be without being called drift.
    package let epsilon: Double
    /// Mean distance of the reference's own ranks from the middle.
    package let spread: Double
    package private(set) var windows = 0
    package private(set) var observations = 0
    private var bets = [Bet](repeating: Bet(), count: 4)

    enum CodingKeys: String, CodingKey {
        case epsilon, spread, windows, observations, bets
    }

    /// Starts without evidence.
    ///
    /// - Parameters:
    ///   - reference: The ranks' reference.
    ///   - epsilon: Difference of a mean rank that does not matter; at least 1/√m is taken for a reference of m values.
    package init(reference: ReferenceRank, epsilon: Double = 0) {
        self.epsilon = min(0.45, max(epsilon, 1 / Double(reference.count).squareRoot()))
        spread = reference.spread
    }

    /// Logarithm of the evidence since the start; drift at log(1/α) or more, with a chance of at most α to be false ever.
    package var logEvidence: Double { Special.logSumExp(bets.map(\.wealth)) - log(Double(bets.count)) }

    /// Logarithm of the evidence for a change at some time (e-detector, Shiryaev–Roberts; Shin, Ramdas and Rinaldo 2024).
    ///
    /// Alarms at log(1/α) or more come on average not before 1/α windows without drift. It does not lose power late.
    package var logDetector: Double {
        Special.logSumExp(bets.map { $0.restarted ?? -.infinity }) - log(Double(bets.count))
    }

    /// Bets on a window of ranks (`ReferenceRank.rank`), in the order in which they came.
    package mutating func update(_ ranks: [Double]) {
        windows += 1
        observations += ranks.count
        let ranks = ranks.filter(\.isFinite)
        for index in bets.indices { bets[index].take(ranks.map { payoff(index, $0) - epsilon }) }
    }

    /// What the four bets win on a rank before the tolerance is taken off.
    private func payoff(_ index: Int, _ rank: Double) -> Double {
        switch index {
        case 0: rank - 0.5
        case 1: 0.5 - rank
        case 2: abs(rank - 0.5) - spread
        default: spread - abs(rank - 0.5)
        }
    }
}
