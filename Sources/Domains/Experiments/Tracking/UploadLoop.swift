import Kernel

/// Forgets parts of uploads that nobody went on with; the sweep of the blobs then takes their bytes.
struct UploadReconciler: Reconciler {
    static let name = "experiments-uploads"
    static let topics: Set<String> = []
    /// How long an upload may take from one part to its end.
    static let patience: Duration = .seconds(7 * 86_400)
    private static let interval: Duration = .seconds(3600)
    let tracking: TrackingHouse

    /// One key for all of them.
    func keys() async throws -> [String] { ["all"] }

    func reconcile(_ key: String) async throws -> Next {
        let store = try tracking.store
        let oldest = store.milliseconds - Int64(Self.patience / .milliseconds(1))
        try await store.write { try $0.forgetParts(before: oldest) }
        return .again(in: Self.interval)
    }
}
