import Glibc

/// Always-valid statements about one share: how large it is, and whether it is what it was meant to be.
extension Sequential {
    /// The shares θ that the counts do not speak against: all with B(c+1, b+1) / (θᶜ(1-θ)ᵇ) < 1/α.
    ///
    /// The mixture of the binomial likelihood over a flat prior, divided by the one of θ, is evidence against θ; the
    /// true share is left out, at any look, with a chance of at most α (Robbins 1970).
    ///
    /// - Returns: Both ends; 0 and 1 without counts.
    package static func shareInterval(successes: Int, failures: Int, alpha: Double) -> (low: Double, high: Double) {
        let (c, b) = (Double(max(0, successes)), Double(max(0, failures)))
        guard c + b > 0, alpha > 0 else { return (0, 1) }
        let bound = log(1 / alpha)
        let mixture = Special.logBeta(c + 1, b + 1)
        func isSpokenAgainst(_ share: Double) -> Bool {
            let likelihood = (c > 0 ? c * log(share) : 0) + (b > 0 ? b * log1p(-share) : 0)
            return mixture - likelihood >= bound
        }
        let best = c / (c + b)
        func edge(_ outside: Double) -> Double {
            var (good, bad) = (best, outside)
            if !isSpokenAgainst(bad) { return bad }
            // 60 halvings are finer than a Double near 1.
            for _ in 0..<60 {
                let middle = (good + bad) / 2
                if isSpokenAgainst(middle) { bad = middle } else { good = middle }
            }
            return good
        }
        return (edge(1e-12), edge(1 - 1e-12))
    }

    /// Logarithm of the evidence that a split is not the one that was meant (sample-ratio mismatch; Lindon and Malek 2022).
    package static func mismatchEvidence(first: Int, second: Int, meantShare: Double) -> Double {
        guard meantShare > 0, meantShare < 1 else { return 0 }
        let (c, b) = (Double(max(0, first)), Double(max(0, second)))
        return Special.logBeta(c + 1, b + 1) - c * log(meantShare) - b * log1p(-meantShare)
    }
}
