/// How often, and for how long, a request may be tried again.
package struct RetryBudget: Sendable {
    /// How often it is sent at most; 1 is never again.
    package var attempts: Int
    /// How long all attempts and pauses may take.
    package var total: Duration
    /// The longest first pause; each later one may be twice as long.
    package var firstPause: Duration
    /// The longest pause of all, also when the server asks for a longer one.
    package var longestPause: Duration

    package init(
        attempts: Int = 4, total: Duration = .seconds(60), firstPause: Duration = .milliseconds(200),
        longestPause: Duration = .seconds(10)
    ) {
        self.attempts = attempts
        self.total = total
        self.firstPause = firstPause
        self.longestPause = longestPause
    }

    /// The pause after the n-th attempt (from 1): exponential with full jitter.
    ///
    /// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
    ///
    /// - Parameters:
    ///   - attempt: Which attempt failed, from 1.
    ///   - chance: A random number in 0..<1.
    /// - Returns: A pause between nothing and `firstPause × 2^(attempt − 1)`, at most `longestPause`.
    func pause(after attempt: Int, chance: Double) -> Duration {
        let doubled = firstPause * (1 << min(max(attempt - 1, 0), 20))
        return min(doubled, longestPause) * chance
    }
}

extension OutboundClient {
    /// Sends a request, and again when that is safe and may help.
    ///
    /// A refused connection is always tried again, as nothing was sent. A broken one, a timeout and the statuses 429,
    /// 502, 503 and 504 are tried again only when the request is idempotent. `Retry-After` in seconds is honoured.
    ///
    /// - Parameters:
    ///   - request: What to send; one with a streamed body is sent once.
    ///   - deadline: How long each attempt may take.
    ///   - budget: How often and how long.
    /// - Returns: The first final answer, or the last one when the budget is spent.
    /// - Throws: The failure of the last attempt.
    package func sendRetrying(
        _ request: HTTPRequest, deadline: Duration, budget: RetryBudget = RetryBudget()
    ) async throws(OutboundError) -> HTTPResponse {
        let end = ContinuousClock.now + budget.total
        var attempt = 1
        while true {
            let left = ContinuousClock.now.duration(to: end)
            var wish: Duration?
            let outcome: Result<HTTPResponse, OutboundError>
            do throws(OutboundError) {
                let response = try await send(request, deadline: min(deadline, max(left, .zero)))
                guard request.mayRepeat(after: response.status) else { return response }
                wish = response.header("retry-after").flatMap { Int($0) }.map { .seconds(max(0, $0)) }
                outcome = .success(response)
            } catch {
                guard request.mayRepeat(after: error.code) else { throw error }
                outcome = .failure(error)
            }
            let pause = min(
                max(wish ?? .zero, budget.pause(after: attempt, chance: .random(in: 0..<1))), budget.longestPause)
            guard attempt < budget.attempts, ContinuousClock.now + pause < end else { return try outcome.get() }
            do { try await Task.sleep(for: pause, clock: .continuous) } catch {
                throw OutboundError(.cancelled, "the request was cancelled between two attempts")
            }
            attempt += 1
        }
    }
}

extension HTTPRequest {
    fileprivate func mayRepeat(after status: Int) -> Bool {
        isIdempotent && isRepeatable && [429, 502, 503, 504].contains(status)
    }

    fileprivate func mayRepeat(after code: OutboundError.Code) -> Bool {
        switch code {
        case .refused: isRepeatable
        case .broken, .timedOut: isRepeatable && isIdempotent
        default: false
        }
    }
}
