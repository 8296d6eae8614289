import Manifests

/// Every kind there is. The only list.
public enum Kinds {
    public static let all: [any Kind.Type] = [
        RepositoryKind.self, PipelineKind.self, EnvironmentKind.self, ServiceKind.self, DatasetKind.self,
        ModelKind.self, MonitorKind.self, TeamKind.self, TelemetryKind.self, DashboardKind.self,
        RunViewKind.self, SloKind.self, ReleaseKind.self,
    ]

    /// The kind that people mean by `word`: "Service", "services", "service" or "svc".
    public static func named(_ word: String) throws(Problem) -> any Kind.Type {
        let lower = word.lowercased()
        let short = ["svc": "services", "repo": "repositories", "env": "environments", "ds": "datasets"]
        let plural = short[lower] ?? lower
        for kind in all {
            let isMeant = kind.plural == plural || kind.name.lowercased() == lower
            if isMeant { return kind }
        }
        throw Problem(
            "kind.unknown", status: 404, "no kind \"\(word)\"",
            hint: suggestion(for: word, among: all.map { $0.name }, called: "kind"))
    }
}

/// Every operation there is. The only list.
public enum Operations {
    public static let all: [AnyOperation] = [
        Resources.apply.erased, Resources.list.erased, Resources.get.erased, Resources.delete.erased,
        Events.list.erased, Events.verify.erased,
        Tokens.create.erased, Tokens.list.erased, Tokens.revoke.erased, Tokens.redeem.erased, Server.info.erased,
        Runs.start.erased, Runs.list.erased, Runs.get.erased, Runs.cancel.erased, Runs.artifacts.erased,
        Runs.log.erased, Runs.searchLog.erased,
        Runners.hello.erased, Runners.lease.erased, Runners.renew.erased,
        Runners.stepStarted.erased, Runners.stepFinished.erased, Runners.jobsFinished.erased, Runners.list.erased,
        Runners.testCases.erased, Runners.absent.erased, Runners.drain.erased,
        Caches.find.erased, Caches.save.erased, Caches.list.erased, Caches.delete.erased, Storage.sweep.erased,
        Tests.list.erased, Tests.history.erased, Tests.quarantine.erased,
        Tests.release.erased,
        Services.status.erased, Services.list.erased, Services.deploy.erased, Services.promote.erased,
        Services.abort.erased, Services.undo.erased, Services.traffic.erased, Services.pause.erased,
        Services.resume.erased, Services.retry.erased, Services.scale.erased, Services.restart.erased,
        Services.analysis.erased, Services.outcomes.erased,
        Environments.freezes.erased,
        Releases.list.erased, Releases.status.erased, Releases.promote.erased, Releases.abort.erased,
        Releases.undo.erased,
        Proxies.table.erased, Proxies.report.erased, Requests.report.erased, Dora.get.erased, Dora.incident.erased,
        Triggers.list.erased, Repositories.statuses.erased,
        Pulls.list.erased, Pulls.get.erased, Pulls.merge.erased, Pulls.close.erased,
        Models.versions.erased, Models.version.erased, Models.register.erased, Models.setAlias.erased,
        Models.remove.erased, Models.moveAliases.erased, Models.compare.erased, Models.evidence.erased,
        Models.sign.erased, Models.verify.erased, Models.prune.erased, Models.ask.erased, Models.requests.erased,
        Models.approve.erased, Models.reject.erased, Models.deliveries.erased,
        Monitors.report.erased, Monitors.label.erased,
        Secrets.set.erased, Secrets.list.erased, Secrets.versions.erased, Secrets.delete.erased,
        Identity.configuration.erased, Identity.keys.erased, Identity.rotate.erased, Runners.idToken.erased,
        Shells.open.erased, Shells.send.erased, Shells.read.erased, Shells.close.erased,
        Shells.offers.erased, Shells.take.erased, Shells.tell.erased,
        Approvals.list.erased, Approvals.approve.erased, Approvals.reject.erased,
        Metrics.query.erased, Metrics.queryRange.erased, Metrics.names.erased, Metrics.labels.erased,
        Metrics.values.erased, Metrics.functions.erased, Metrics.parse.erased,
        Logs.search.erased, Logs.tail.erased, Logs.labels.erased, Logs.values.erased,
        Traces.search.erased, Traces.get.erased, Traces.services.erased, Traces.graph.erased,
        Telemetry.status.erased, Telemetry.deleteSeries.erased, Telemetry.snapshot.erased,
        Experiments.list.erased, Experiments.get.erased, Experiments.runs.erased, Experiments.run.erased,
        Experiments.compare.erased, Experiments.curve.erased, Experiments.files.erased, Experiments.text.erased,
        Moves.experiments.erased, Moves.runs.erased, Moves.held.erased, Moves.models.erased,
        Experiments.purge.erased,
        Dashboards.list.erased, Dashboards.get.erased, Dashboards.importGrafana.erased,
    ]
}
