import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

/// Harmless versions of a service that is ill already, and bad ones, through the whole room with time made short.
@Suite(.timeLimit(.minutes(3))) struct HarmlessTests {
    private func count(_ requests: Double, _ rate: Double, _ random: inout Seeded) -> (Int64, Int64) {
        let whole =
            Int(requests) + (Double.random(in: 0..<1, using: &random) < requests - requests.rounded(.down) ? 1 : 0)
        let bad = (0..<whole).count { _ in Double.random(in: 0..<1, using: &random) < rate }
        return (Int64(whole), Int64(bad))
    }

    /// Twenty minutes with 10 % on the new version; what became of it.
    private func run(_ requestsPerSecond: Double, base: Double, canary: Double, seed: UInt64) async throws
        -> ServiceStatus
    {
        var random = Seeded(seed)
        let rig = try await Rig.open()
        try await rig.house.apply(
            web(
                "{ strategy: canary, steps: [{ weight: 10 }, { pause: { for: 20m } }], background: [errors], analysis: { errors: { built_in: error_rate, interval: 60s, judge: { min_samples: 1, max_increase: 0% } } } }"
            ))
        try await rig.settle()
        try await rig.deploy("k1")
        try await rig.settle()
        var (old, new) = ((requests: Int64(0), errors: Int64(0)), (requests: Int64(0), errors: Int64(0)))
        try await rig.report([1: old, 2: new])
        try await rig.settle()
        for _ in 0..<20 {
            let (a, b) = (
                count(requestsPerSecond * 54, base, &random), count(requestsPerSecond * 6, canary, &random)
            )
            old = (old.requests + a.0, old.errors + a.1)
            new = (new.requests + b.0, new.errors + b.1)
            rig.time.advance(by: .seconds(60))
            try await rig.report([1: old, 2: new])
            try await rig.settle(turns: 2)
            let status = try await rig.status()
            if status.aborted || status.completion == .promoted { return status }
        }
        // What is left is all traffic, which the proxy has to take up.
        for _ in 0..<3 {
            try await rig.report([1: old, 2: new])
            try await rig.settle(turns: 2)
        }
        return try await rig.status()
    }

    @Test(arguments: [0.2, 1, 100], [1, 2] as [UInt64])
    func `a version as ill as the one before is not aborted, at any rate of requests`(
        requestsPerSecond: Double, seed: UInt64
    ) async throws {
        let status = try await run(requestsPerSecond, base: 0.012, canary: 0.012, seed: seed)
        #expect(!status.aborted)
        #expect(status.stable_revision == 2)
    }

    @Test func `twice the errors at 100 requests a second are found within the twenty minutes`() async throws {
        let status = try await run(100, base: 0.005, canary: 0.01, seed: 3)
        #expect(status.aborted)
        #expect(status.weights == [1: 100])
    }
}
