import API
import Kernel
import Manifests
import Points

/// Handlers of `Moves.*`: what another tracking server holds is taken over under its own ids.
///
/// Everything may be sent again. A row that is there stays as it is, and a point that comes twice is one point; so whoever moves a
/// store need not remember how far it came, and asks `held` instead.
struct MoveRoutes: Sendable {
    let tracking: TrackingHouse
    let registry: MLflowRegistry

    /// Experiments, runs or logged models of one request.
    private static let itemLimit = 1000

    func add(to routes: inout Routes) {
        routes.on(Moves.experiments) { input, call in try await told { try await experiments(input, call) } }
        routes.on(Moves.runs) { input, _ in try await told { try await runs(input) } }
        routes.on(Moves.held) { input, _ in try await told { try await held(input) } }
        routes.on(Moves.models) { input, call in try await told { try await registry.take(input, call) } }
    }

    private static func check(_ count: Int, _ what: String) throws(MLflowError) {
        guard count <= itemLimit else {
            throw .invalid("A request can bring at most \(itemLimit) \(what), and it brings \(count)")
        }
    }

    private func experiments(_ input: MovedExperiments, _ call: Call) async throws -> ItemList<MovedPlace> {
        try Self.check(input.experiments.count, "experiments")
        guard isResourceName(input.project) else {
            throw MLflowError.missing("No project \"\(input.project.prefix(60))\"")
        }
        for experiment in input.experiments {
            guard !experiment.name.isEmpty else { throw MLflowError.required("name") }
            try NameRules.experimentName(experiment.name)
            for tag in experiment.tags {
                try NameRules.checkLength("Tag key", tag.key, NameRules.keyLength)
                try NameRules.checkLength("Tag value", tag.value, NameRules.experimentTagLength)
            }
            try TakeoverRules.location(experiment.artifact_location)
        }
        let places = try await tracking.store.take(input.experiments, in: input.project)
        for place in places where place.is_new {
            let experiment = try await tracking.store.read {
                try $0.experiment(NameRules.experimentID(place.id), in: input.project)
            }
            try await tracking.tell("experiment.created", experiment, call, ["moved_from": .string(place.source)])
        }
        return ItemList(places)
    }

    private func runs(_ input: MovedRuns) async throws -> MovedCount {
        try Self.check(input.runs.count, "runs")
        try Self.check(input.models.count, "logged models")
        for run in input.runs { try TakeoverRules.check(run) }
        for model in input.models { try TakeoverRules.check(model) }
        return try await tracking.store.take(input.runs, input.models, in: input.project)
    }

    private func held(_ input: HeldQuery) async throws -> Holdings {
        try Self.check(input.runs.count, "runs")
        try Self.check(input.models.count, "logged models")
        return try await tracking.store.held(input.runs, input.models, in: input.project)
    }
}

/// What may be taken over; pure. Keys and values are another server's own: only what this one could not keep is refused.
enum TakeoverRules {
    static func check(_ run: MovedRun) throws(MLflowError) {
        guard RunID(run.id) != nil else {
            throw .invalid("The id of run '\(run.id.prefix(80))' is not 32 hexadecimal digits in small letters")
        }
        guard TrackedStatus(rawValue: run.status) != nil else {
            throw .invalid("Run \(run.id) has the status '\(run.status.prefix(40))', which no run has")
        }
        try location(run.artifact_uri)
        for key in run.params.keys + run.tags.keys + run.metrics.map(\.key) { try Self.key(key, of: run.id) }
        for points in run.metrics {
            guard points.times.count == points.values.count, points.steps.count == points.values.count else {
                throw .invalid("Metric '\(points.key)' of run \(run.id) has not as many times and steps as values")
            }
        }
    }

    static func check(_ model: MovedLoggedModel) throws(MLflowError) {
        let isWord = model.id.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x5F
        }
        guard isWord, (1...256).contains(model.id.utf8.count) else {
            throw .invalid("The id of logged model '\(model.id.prefix(80))' is no word")
        }
        try location(model.artifact_uri)
        for key in model.params.keys + model.tags.keys + model.metrics.map(\.key) { try Self.key(key, of: model.id) }
    }

    private static func key(_ key: String, of id: String) throws(MLflowError) {
        guard !key.isEmpty else { throw .invalid("\(id) has a param, tag or metric without a key") }
        // Twice what clients may log today: older servers were less strict.
        try NameRules.checkLength("A key of \(id)", key, 2 * NameRules.keyLength)
    }

    /// A place elsewhere. One in this server would show files of other runs.
    static func location(_ address: String?) throws(MLflowError) {
        guard let address else { return }
        try ArtifactPlaces.checkLocation(address)
        guard !address.isEmpty, ArtifactPlaces.path(of: address) == nil else {
            throw .invalid("'\(address.prefix(200))' is no place elsewhere")
        }
    }
}
