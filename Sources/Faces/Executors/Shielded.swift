/// Does a last thing though the task has been cancelled: ending what was started outside of this process.
package func despiteCancellation<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
    try await Task.detached { try await body() }.value  // awaited at once, so nothing outlives its caller
}
