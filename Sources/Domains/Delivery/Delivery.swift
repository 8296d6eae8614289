// Services: kept up, rolled out step by step, judged, and taken back when they are worse than what was there before.
//
// What comes in: a `Service` that somebody applies, a `Services.deploy` of a pipeline, the counts of the proxies.
// What goes out: copies on a `Platform`, the routing table that the proxies ask for, the status of services, DORA.
//
//   applied, deployed -> revision (frozen workload) -> rollout -> copies, weights -> routing table -> proxies
//                                                         ^                                             |
//                                   verdicts <- analyses <- counts per revision <-----------------------+
//
// Tables (all `delivery_...`): service (numbers, stable revision), revision (and arms, whose numbers are below zero), copy
// (ordered, running, stopping, gone), rollout (one row an attempt: the state machine and DORA's evidence), analysis,
// counter, total and traffic (what was counted), outcome (of a_b_testing), incident, release (rollouts held together), proxy, route and table (the routing
// table and its version).
//
// Events: service.revision-created, .restarted, .incident, rollout.started, .step, .paused, .resumed, .arm-created,
// .promoted, .aborted, .superseded, .rolled-back, .recovered, .ready, instance.started, .stopped, .lost, all about the Service; release.started, .promoting, .released,
// .taken-back, about the Release.
//
// Loops: RolloutLoop thinks (RolloutDecision, CanaryAnalysis: pure), and ReleaseLoop over several services at once
// (ReleaseDecision: pure); StartLoop and StopLoop act, ProbeLoop (ProbePlan: pure), Lookout and MeasureLoop look, DoraGauges tells. A crash at any moment loses nothing: an intent is a row before it is done, and every
// act may be repeated.
//
// Files: Tables, RolloutRow, ReleaseRow, TrafficRow (SQL); RolloutView (what is seen); RolloutPlan, RolloutDecision, CopyDecision,
// MetricAlgebra, CanaryAnalysis, ABTesting, RolloutWords, DoraMath (pure); RolloutWriter, Attempts, Condemned, CopyBook, ReleaseBook,
// Verbs (change rows); RoutingTable; DoraDesk, DoraBadge; Process (the platform). Rules: docs/reference/rollouts.md, dora.md.
package import API
package import Kernel
import Logging
import Manifests
package import SQL

/// How delivery is set up in this house.
package struct DeliverySettings: Sendable {
    /// What begins the command of a copy that serves a model: `[".../vagus", "serve"]`.
    package var serveCommand: [String]
    /// Folder under which copies that serve models write what they predicted.
    package var predictions: String
    /// Folder where they tell of single requests, for traces.
    package var requests: String
    /// The proxy whose address people are shown.
    package var proxy: String
    /// Who lends the secrets of copies.
    package var secrets: (any SecretSource)?
    /// Who is asked about metrics; nil: analyses of queries and webhooks say that there is nobody.
    package var outside: (any MeasureOutside)?

    package init(
        serveCommand: [String], predictions: String, requests: String, proxy: String = "proxy",
        outside: (any MeasureOutside)? = nil, secrets: (any SecretSource)? = nil
    ) {
        (self.serveCommand, self.predictions, self.requests) = (serveCommand, predictions, requests)
        (self.proxy, self.outside, self.secrets) = (proxy, outside, secrets)
    }
}

/// Where copies run, by what they are.
package struct Platforms: Sendable {
    let processes: any Platform
    let containers: any Platform
    let clusters: @Sendable (ClusterTarget) -> any Platform
    package init(
        processes: any Platform, containers: any Platform, clusters: @escaping @Sendable (ClusterTarget) -> any Platform
    ) {
        (self.processes, self.containers, self.clusters) = (processes, containers, clusters)
    }

    func of(_ form: CopyRow.Form) -> any Platform {
        switch form {
        case .process: processes
        case .container: containers
        case .cluster(let target): clusters(target)
        }
    }
}

/// The room of services, rollouts and DORA.
package struct DeliveryDomain: Domain {
    package static let name = "delivery"
    private let context: DomainContext
    private let platforms: Platforms
    private let settings: DeliverySettings
    private let watch = ProxyWatch()
    private let probes: ProbeBook
    private let copies: Recall<CopyRow.Form, [CopyRow]>
    private let sights = Lookout.Sights()

    package init(context: DomainContext, platforms: Platforms, settings: DeliverySettings) {
        (self.context, self.platforms, self.settings) = (context, platforms, settings)
        (probes, copies) = (ProbeBook(context.store.bells), Recall(context.store.bells))
    }

    package var migrations: [Migration] { Tables.migrations }
    package func namesOfContent(in sql: Connection) throws -> [String] { try sql.workloadTexts() }

    package func routes(_ routes: inout Routes) {
        addRoutes(&routes, verbs, ProxyDesk(store: context.store, watch: watch))
    }

    package var mounts: [Mount] { [DoraBadge(desk: doraDesk).mount] }

    package var loops: [any RunnableLoop] {
        let (store, logger) = (context.store, context.logger(for: Self.name))
        return [
            ReconcileLoop(rolloutLoop, store: store, logger: logger),
            ReconcileLoop(releaseLoop, store: store, logger: logger),
            ReconcileLoop(startLoop(ofClusters: false), store: store, width: 8, logger: logger),
            ReconcileLoop(startLoop(ofClusters: true), store: store, width: 32, logger: logger),
            ReconcileLoop(stopLoop, store: store, width: 32, logger: logger),
            // What takes long in a cluster keeps nobody waiting who is here.
            ReconcileLoop(probeLoop(ofClusters: false), store: store, width: 32, logger: logger),
            ReconcileLoop(probeLoop(ofClusters: true), store: store, width: 32, logger: logger),
            ReconcileLoop(lookout(ofClusters: false), store: store, logger: logger),
            ReconcileLoop(lookout(ofClusters: true), store: store, width: 8, logger: logger),
            ReconcileLoop(measureLoop, store: store, width: 8, logger: logger),
            ReconcileLoop(doraGauges, store: store, logger: logger),
        ]
    }

    var verbs: Verbs { Verbs(store: context.store, freezer: freezer, proxies: watch, url: url) }
    var rolloutLoop: RolloutLoop { RolloutLoop(store: context.store, freezer: freezer, proxies: watch, url: url) }
    var releaseLoop: ReleaseLoop { ReleaseLoop(store: context.store, proxies: watch, url: url) }
    func startLoop(ofClusters: Bool) -> StartLoop {
        StartLoop(store: context.store, platforms: platforms, settings: settings, ofClusters: ofClusters)
    }
    var stopLoop: StopLoop { StopLoop(store: context.store, platforms: platforms, proxies: watch) }
    func probeLoop(ofClusters: Bool) -> ProbeLoop {
        ProbeLoop(store: context.store, platforms: platforms, book: probes, ofClusters: ofClusters)
    }
    func lookout(ofClusters: Bool) -> Lookout {
        Lookout(
            store: context.store, platforms: platforms, memory: copies, sights: sights, ofClusters: ofClusters)
    }

    var measureLoop: MeasureLoop {
        MeasureLoop(store: context.store, outside: settings.outside, caller: context.caller)
    }

    private var doraGauges: DoraGauges {
        DoraGauges(
            desk: doraDesk, instruments: context.instruments, memory: Recall(context.store.bells))
    }

    private var doraDesk: DoraDesk { DoraDesk(store: context.store, caller: context.caller) }

    private var freezer: WorkloadFreezer { WorkloadFreezer(caller: context.caller) }
    private var url: ProxyURL { ProxyURL(proxy: settings.proxy) }

    /// Refuses a service whose judgements cannot be read, or that was gone back from, before anything is rolled out.
    package func admit(_ candidate: Candidate, in change: Change) throws {
        if let release = candidate.spec(of: ReleaseKind.self) {
            return try ReleaseBook.admit(candidate, release, in: change.sql)
        }
        guard let spec = candidate.spec(of: ServiceKind.self) else { return }
        let service = ServiceReference(project: candidate.project, name: candidate.name)
        let environment = try Verbs.environment(spec, service, in: change.sql)
        try WorkloadFreezer.checkTargets(spec, environment)
        let signature = WorkloadFreezer.signature(spec, environment)
        try Condemned.refuse(signature: signature, of: service, in: change.sql)
        try Self.refuseMigrated(signature: signature, of: service, in: change.sql)
        try RouteRow.reserve(spec, for: service, in: change.sql)
        for (name, analysis) in spec.rollout.analysis where analysis.judge.method == .threshold {
            let (success, failure) = (analysis.judge.success, analysis.judge.failure)
            if analysis.webhook != nil || analysis.job != nil, success == nil, failure == nil { continue }
            guard success != nil || failure != nil else {
                throw Problem(
                    "service.judge", status: 422, "the threshold judge of analysis \"\(name)\" has no bound",
                    hint: "Write `success: \"result < 0.01\"`, `failure: …`, or both.",
                    location: "rollout.analysis.\(name).judge")
            }
            for text in [success, failure].compactMap({ $0 }) where Comparison(text) == nil {
                throw Problem(
                    "service.judge", status: 422, "\"\(text)\" is not a comparison that can be judged",
                    hint: "Write it like `result < 0.01`, with one of < <= > >= == !=.",
                    location: "rollout.analysis.\(name).judge")
            }
        }
    }

    /// Refuses what an earlier revision runs that cannot live with the data as they are now.
    private static func refuseMigrated(
        signature: String, of name: ServiceReference, in sql: Connection
    ) throws {
        guard let stable = try ServiceRow.read(name, in: sql).stable else { return }
        let rows = try RevisionRow.all(of: name, in: sql)
        guard let target = rows.last(where: { $0.signature == signature && $0.wasStable && $0.armOf == nil }),
            let problem = RolloutWriter.migrated(rows.first { $0.revision == stable }, to: target)
        else { return }
        throw problem
    }

    /// A deleted service is off the table, and its copies are told to stop, in the transaction that deletes it.
    package func release(_ resource: Resource, in change: Change) throws {
        if resource.kind == ReleaseKind.name {
            let group = ReleaseReference(project: resource.project, name: resource.name)
            return try ReleaseBook.dissolve(group, in: change)
        }
        guard resource.kind == ServiceKind.name else { return }
        try RolloutLoop.release(ServiceReference(project: resource.project, name: resource.name), in: change)
    }
}
