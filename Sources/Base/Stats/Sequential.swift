import Glibc

/// Evidence that may be looked at after every request: e-values, that is amounts whose mean is at most 1 while nothing
/// is wrong, so that the chance ever to see one of 1/α is at most α (Ville 1939).
package enum Sequential {
    /// Logarithm of the evidence that the canary fails more often than the baseline by more than `tolerance`.
    ///
    /// Given that a request failed, the chance that it was a canary's is θ = r·p / (r·p + 1 - p), where p is the canary's
    /// share of requests and r how many times as often it fails; an error rate that both share cancels out, whatever it does
    /// over time. The null is r ≤ 1 + tolerance, that is θ ≤ p₀. Evidence is the binomial likelihood ratio against p₀,
    /// averaged over θ > p₀ (conditional binomial mixture; Lindon and Malek, NeurIPS 2022):
    ///
    ///     E = ∫_{p₀}^{1} θᶜ(1-θ)ᵇ dπ(θ) / (p₀ᶜ(1-p₀)ᵇ)
    ///
    /// The prior π is flat for 92 parts in 100; 8 parts lie close to 1, for errors that only the canary has: those show
    /// sooner so, and all others hardly later. Any prior keeps the bound.
    ///
    /// Counts are totals since the share was set. When the share changes, start new counts and add the logarithms: the
    /// product of such processes is one again.
    ///
    /// - Parameters:
    ///   - canaryErrors: Failed requests of the canary, c.
    ///   - baselineErrors: Failed requests of the baseline, b.
    ///   - canaryShare: Share of all requests that went to the canary, between 0 and 1.
    ///   - tolerance: How much worse, as a share, is no harm; 0.1 allows 10 % more errors.
    /// - Returns: log E; abort at log(1/α) or more. 0 where the share is 0 or 1, as nothing can be compared.
    package static func ratioEvidence(canaryErrors: Int, baselineErrors: Int, canaryShare: Double, tolerance: Double)
        -> Double
    {
        guard let null = nullShare(canaryShare, tolerance) else { return 0 }
        let (c, b) = (Double(max(0, canaryErrors)), Double(max(0, baselineErrors)))
        let flat = Special.logBeta(c + 1, b + 1) + Special.logRegularisedBeta(null, c + 1, b + 1).upper - log1p(-null)
        // The density 16 θ¹⁵ / (1 - p₀¹⁶) above p₀.
        let steep =
            Special.logBeta(c + steepness, b + 1) + Special.logRegularisedBeta(null, c + steepness, b + 1).upper
            + log(steepness) - log1p(-pow(null, steepness))
        let mixture = Special.logSumExp([flat + log(flatPart), steep + log1p(-flatPart)])
        return mixture - c * log(null) - b * log1p(-null)
    }

    /// Part of the prior that is flat, and how steep the rest is.
    private static let flatPart = 0.92
    private static let steepness = 16.0

    /// Logarithm of the evidence that the canary does not fail more often than `tolerance` allows.
    ///
    /// The null is θ ≥ p₀ and the average goes over θ < p₀; for a promotion at log(1/α) or more. Without errors on either
    /// side there is none (0), so a judge also needs a way by duration and number of requests.
    ///
    /// - Returns: log E, 0 where the share is 0 or 1.
    package static func ratioSafety(canaryErrors: Int, baselineErrors: Int, canaryShare: Double, tolerance: Double)
        -> Double
    {
        guard let null = nullShare(canaryShare, tolerance) else { return 0 }
        let (c, b) = (Double(max(0, canaryErrors)), Double(max(0, baselineErrors)))
        let tail = Special.logRegularisedBeta(null, c + 1, b + 1).lower
        return Special.logBeta(c + 1, b + 1) + tail - log(null) - c * log(null) - b * log1p(-null)
    }

    /// p₀ = p(1 + δ) / (p(1 + δ) + 1 - p), or nil where nothing can be compared.
    private static func nullShare(_ share: Double, _ tolerance: Double) -> Double? {
        guard share > 0, share < 1, tolerance >= 0, tolerance.isFinite else { return nil }
        let canary = share * (1 + tolerance)
        return canary / (canary + 1 - share)
    }

    /// The hypotheses to reject such that at most a share α of the rejections is false on average, under any dependence
    /// (e-BH; Wang and Ramdas 2022): the k with the most evidence, for the largest k whose weakest has e ≥ n / (k α).
    ///
    /// - Parameters:
    ///   - logEvidence: Logarithm of each hypothesis's e-value.
    ///   - alpha: The share of false rejections that is borne.
    /// - Returns: Places of the rejected, ascending.
    package static func rejections(logEvidence: [Double], alpha: Double) -> [Int] {
        guard alpha > 0 else { return [] }
        let order = logEvidence.indices.filter { !logEvidence[$0].isNaN }.sorted { logEvidence[$0] > logEvidence[$1] }
        let n = Double(logEvidence.count)
        let count = (0...order.count).last { k in k == 0 || logEvidence[order[k - 1]] >= log(n / (Double(k) * alpha)) }
        return order.prefix(count ?? 0).sorted()
    }
}
