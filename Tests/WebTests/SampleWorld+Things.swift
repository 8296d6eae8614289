import API
import Manifests

extension SampleWorld {
    static let digest = "sha256:9b1f4c77d02ae8f5b6a9c0e2d5b1234567890abcdef1234567890abcdef12345"

    static let artifacts: [Artifact] =
        ([("model", "train", 412_339), ("report", "evaluate", 9_120), ("rows", "ingest", 5_231_004)]
        as [(String, String, Int64)]).map {
            var artifact = Artifact()
            (artifact.name, artifact.stage, artifact.job, artifact.size_bytes) = ($0.0, $0.1, $0.1, $0.2)
            (artifact.digest, artifact.file_name, artifact.form) = (
                digest, "\($0.0).json", $0.0 == "model" ? .tree : .file
            )
            return artifact
        }

    static func revision(_ number: Int, weight: Int, requests: Int64, errors: Int64, p99: Double, ago: Double)
        -> RevisionStatus
    {
        var one = RevisionStatus()
        (one.revision, one.weight, one.requests, one.errors, one.p99_ms) = (number, weight, requests, errors, p99)
        (one.replicas, one.ready) = weight > 0 ? (2, 2) : (0, 0)
        (one.model, one.commit, one.run) = ("employment@\(number)", "8f2c1ab94be07d1", "run_01kb\(number)")
        one.created_at = at(ago)
        return one
    }

    static let freeze: FreezeWindow = {
        var window = FreezeWindow()
        (window.environment, window.name, window.allow) = ("production", "<b>AGEP release</b>", ["rollback"])
        (window.from, window.to) = (at(90_000), at(-200_000))
        return window
    }()

    static let release: ReleaseStatus = {
        var release = ReleaseStatus()
        (release.name, release.number, release.phase) = ("shop", 7, .rolling_out)
        release.message = "Release 7 waits for salary; employment is ready."
        release.services = ["employment", "salary"].map { name in
            var member = ReleaseMember()
            (member.service, member.state) = (name, name == "salary" ? .going : .ready)
            return member
        }
        release.started_at = at(400)
        return release
    }()

    static let canary: ServiceStatus = {
        var service = ServiceStatus()
        (service.service, service.phase, service.step, service.steps) = ("employment", .progressing, 2, 5)
        service.message = "revision 4 gets 10 % of the traffic while its error rate and latency are judged"
        service.step_name = "Judge errors, latency"
        (service.stable_revision, service.active_revision, service.preview_revision) = (3, 3, 4)
        service.url = "http://127.0.0.1:8480/serving/employment"
        service.revisions = [
            revision(4, weight: 10, requests: 1_204, errors: 2, p99: 11.2, ago: 320),
            revision(3, weight: 90, requests: 120_442, errors: 31, p99: 9.8, ago: 90_000),
            revision(2, weight: 0, requests: 981_204, errors: 204, p99: 10.1, ago: 400_000),
        ]
        service.rollout_started_at = at(320)
        var errors = AnalysisStatus()
        (errors.name, errors.metric, errors.verdict) = ("errors", "error_rate", .running)
        errors.message = "2 of 1,204 requests failed on revision 4, 3 of 10,802 on revision 3"
        var look = AnalysisLook()
        (look.canary_requests, look.canary_errors, look.stable_requests, look.stable_errors) = (1_204, 2, 10_802, 3)
        (look.value, look.baseline, look.evidence, look.bound) = (0.00166, 0.00028, 0.84, 3.0)
        errors.looks = (0..<30).map { index in
            var one = look
            one.at = at(Double(30 - index) * 10)
            one.evidence = 0.84 * Double(index) / 29 + 0.2 * wave(index)
            return one
        }
        var latency = AnalysisStatus()
        (latency.name, latency.metric, latency.verdict, latency.message) = (
            "latency", "latency_p99", .passed, "11.2 ms is below 50 ms"
        )
        (look.value, look.baseline, look.evidence, look.bound) = (11.2, 9.8, nil, nil)
        latency.looks = [look]
        service.analyses = [errors, latency]
        return service
    }()

    static let aborted: ServiceStatus = {
        var service = canary
        (service.service, service.phase, service.aborted, service.completion) = ("salary", .degraded, true, .aborted)
        service.message = "rollout of revision 4 was aborted: errors failed"
        service.analyses[0].verdict = .failed
        service.analyses[0].message = "61 of 902 requests failed on revision 4, 3 of 8,130 on revision 3"
        service.revisions[0].weight = 0
        service.revisions[1].weight = 100
        return service
    }()

    static let traffic: [TrafficPoint] = (0..<90).flatMap { index -> [TrafficPoint] in
        let share = index < 50 ? 0.0 : index < 70 ? 0.1 : 0.5
        return [(3, 1 - share), (4, share)].compactMap { revision, part in
            guard part > 0 else { return nil }
            var point = TrafficPoint()
            (point.at, point.revision) = (at(Double(90 - index) * 40), revision)
            point.requests = Int64((900 + 160 * wave(index)) * part)
            point.errors = Int64(max(0, 3 * wave(index, 3)) * part)
            point.p50_ms = 2.1 + 0.3 * wave(index, 2)
            point.p99_ms = 9 + 2.5 * wave(index, 5) + (revision == 4 ? 1.4 : 0)
            return point
        }
    }

    static let dora: DoraReport = {
        func number(_ value: Double?, _ unit: String, _ target: Double, _ meets: Bool?, _ n: Int, _ trend: [Double?])
            -> DoraNumber
        {
            var one = DoraNumber()
            (one.value, one.unit, one.target, one.meets_target, one.n, one.trend) = (
                value, unit, target, meets, n, trend
            )
            return one
        }
        var report = DoraReport()
        (report.from, report.to) = (at(30 * 86_400), now)
        report.deployment_frequency = number(
            1.43, "per_day", 10, false, 43, (0..<30).map { Double(Int(2 + 2 * wave($0))) })
        report.lead_time = number(
            612, "seconds", 3600, true, 43, (0..<30).map { $0 % 6 == 5 ? nil : 600 + 200 * wave($0) })
        report.change_failure_rate = number(0.0465, "fraction", 0.05, true, 43, (0..<30).map { $0 % 11 == 3 ? 0.5 : 0 })
        report.recovery_time = number(41, "seconds", 900, true, 2, (0..<30).map { $0 == 3 ? 38 : $0 == 14 ? 44 : nil })
        report.deployments = (0..<12).map { index in
            var one = Deployment()
            (one.service, one.revision, one.outcome) = (
                "employment", 12 - index, index == 2 ? .failed : index == 0 ? .under_way : .succeeded
            )
            (one.commit, one.run) = ("8f2c1ab94be0\(index)", "run_01kb\(14 - index)")
            one.started_at = at(Double(index) * 40_000 + 300)
            one.finished_at = index == 0 ? nil : at(Double(index) * 40_000 - 12)
            one.lead_time_seconds = one.outcome == .succeeded ? 540 + 90 * wave(index) : nil
            if one.outcome == .failed {
                one.reason = "errors: 61 of 902 requests failed"
                (one.first_bad_at, one.recovered_at) = (at(80_060), at(80_020))
            }
            return one
        }
        return report
    }()

    static let versions: [ModelVersion] = (1...4).reversed().map { number in
        var one = ModelVersion()
        (one.model, one.version, one.format) = ("employment", number, "xgboost")
        (one.created_at, one.digest, one.size_bytes) = (at(Double(5 - number) * 86_000), digest, 412_339)
        one.aliases = number == 3 ? ["champion"] : number == 4 ? ["candidate"] : []
        one.metrics = [
            "auc": 0.8871 + Double(number) * 0.0018, "log_loss": 0.3811 - Double(number) * 0.0025,
            "brier": 0.1201 - Double(number) * 0.0008,
            "ece": 0.0141 - Double(number % 3) * 0.0019, "accuracy": 0.8291 + Double(number) * 0.0014,
        ]
        (one.run, one.pipeline, one.commit, one.data_digest) = (
            "run_01kb\(number)", "employment", "8f2c1ab94be07d1\(number)", digest
        )
        one.signature = [
            "inputs": [
                ["name": "AGEP", "type": "float"], ["name": "SCHL", "type": "category"],
                ["name": "SEX", "type": "category"],
            ],
            "outputs": [["name": "employed", "type": "float"]],
        ]
        one.facts = ["hyperparameters": ["max_depth": 6, "eta": 0.1, "objective": "binary:logistic"], "rounds": 118]
        return one
    }

    static let report: MonitorReport = {
        var report = MonitorReport()
        (report.monitor, report.model, report.service, report.reference_rows) = (
            "employment-live", "employment@3", "employment", 17_197
        )
        report.reference_metrics = ["auc": 0.8925, "log_loss": 0.3719]
        let features = [
            "AGEP", "SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL", "ANC", "NATIVITY", "DEAR", "DEYE", "DREM",
            "employment_of_parents",
        ]
        report.windows = (0..<16).map { index in
            var window = WindowReport()
            window.window = "2018-\(index < 9 ? "0" : "")\(index + 1)"
            window.from = Timestamp(microseconds: (1_514_764_800 + Int64(index) * 2_629_800) * 1_000_000)
            window.to = window.from.advanced(by: .seconds(2_629_800))
            window.rows = index == 11 ? 12 : 13_000 + Int(900 * wave(index))
            window.coverage = index > 13 ? 0.41 : index == 11 ? 0.2 : 0.97
            window.labelled = Int(Double(window.rows) * window.coverage)
            window.features = features.enumerated().map { position, feature in
                var drift = FeatureDrift()
                (drift.feature, drift.method) = (feature, position % 2 == 0 ? "wasserstein_norm" : "js")
                drift.effect = max(
                    0.004,
                    (position < 3 ? 0.011 * Double(index) * (position == 0 ? 1.9 : 1) : 0.03) + 0.016
                        * wave(index * 15 + position))
                drift.drifted = drift.effect >= 0.1
                return drift
            }
            window.prediction = window.features[5]
            window.mean_score = 0.52 + 0.004 * Double(index)
            window.state =
                index == 11
                ? .insufficient_data : index == 13 ? .breach : window.features.contains(where: \.drifted) ? .drift : .ok
            if index < 14, index != 11 {
                window.performance = ["auc": 0.894 - 0.0023 * Double(index), "log_loss": 0.37 + 0.002 * Double(index)]
            }
            window.bias = [
                "SEX": [
                    "tpr_gap": .number(0.04 + 0.004 * Double(index)),
                    "selection_ratio": .number(0.92 - 0.006 * Double(index)),
                ],
                "RAC1P": [
                    "tpr_gap": .number(0.06 + 0.002 * Double(index)),
                    "selection_ratio": .number(0.88 - 0.003 * Double(index)),
                ],
            ]
            if window.state == .drift { window.breaches = ["AGEP drifts: 0.21 is at least 0.1"] }
            if window.state == .breach {
                window.breaches = ["auc 0.862 is below 0.87", "AGEP drifts: 0.27 is at least 0.1"]
            }
            window.restated = index == 10 ? 2 : 0
            return window
        }
        return report
    }()

    static func event(
        _ sequence: Int64, _ name: String, _ kind: String, _ subject: String, _ actor: String,
        _ data: Ordered<JSONValue>
    ) -> Event {
        var event = Event()
        (event.sequence, event.name, event.actor, event.data) = (sequence, name, actor, data)
        event.subject = Subject(kind: kind, project: "default", name: subject)
        event.at = at(Double(200 - sequence) * 37)
        (event.correlation, event.hash, event.previous_hash) = (
            "run_01kb14", String(digest.dropFirst(7)), String(digest.dropFirst(7))
        )
        return event
    }

    static let events: [Event] = [
        event(199, "step.started", "Run", "run_01kb14", "run:run_01kb14", ["stage": "train", "step": 0, "epoch": 1]),
        event(
            198, "rollout.step", "Service", "employment", "system:delivery", ["revision": 4, "weight": 10, "step": 1]),
        event(
            197, "rollout.started", "Service", "employment", "run:run_01kb13", ["revision": 4, "strategy": "canary"]),
        event(196, "model.registered", "Model", "employment", "run:run_01kb13", ["version": 4, "auc": 0.8943]),
        event(
            195, "rollout.aborted", "Service", "salary", "system:delivery",
            ["revision": 4, "reason": "errors: 61 of 902 requests failed"]),
        event(
            194, "run.queued", "Run", "run_01kb13", "git:Ana Ruiz <ana@example.com>",
            ["pipeline": "employment", "commit": "8f2c1ab9"]),
        event(
            193, "token.created", "Token", "ci", "token:admin",
            ["permission": "run", "note": "<img src=x onerror=alert(1)>"]),
    ]

    static func resource(_ kind: any Kind.Type, _ name: String, _ spec: JSONValue, _ status: JSONValue?) -> Resource {
        var one = Resource()
        (one.kind, one.name, one.spec, one.status, one.generation) = (kind.name, name, spec, status, 3)
        (one.created_at, one.updated_at) = (at(400_000), at(9_000))
        one.labels = ["team": "ml"]
        one.conditions = [
            Condition("Ready", .yes, reason: "Converged", message: "What is wanted is what is."),
            Condition("Stalled", .no, reason: "Moving", message: "The last look was 2 s ago."),
        ]
        return one
    }

    static let resources: [String: [Resource]] = [
        RunViewKind.plural: [SampleExperiments.view],
        PipelineKind.plural: [
            resource(
                PipelineKind.self, "employment",
                [
                    "repository": "employment", "triggers": [["push": ["branches": ["main"]]]],
                    "parameters": [
                        "cutoff": ["type": "int", "default": 2018, "description": "Last year to learn from."]
                    ],
                    "stages": .array(
                        stages.map {
                            [
                                "name": .string($0.0), "type": .string($0.1.rawValue),
                                "needs": .array($0.2.map { .string($0) }), "run": "true",
                            ]
                        }),
                ], ["runs": 14, "last_status": "running"])
        ],
        ServiceKind.plural: [
            resource(
                ServiceKind.self, "employment",
                [
                    "workload": ["model": "employment", "replicas": 2],
                    "rollout": [
                        "strategy": "canary",
                        "steps": [
                            ["weight": 10], ["pause": ["for": "1m"]], ["analyze": ["errors", "latency"]],
                            ["weight": 50], ["pause": [:]],
                        ],
                        "analysis": ["errors": ["built_in": "error_rate"], "latency": ["built_in": "latency_p99"]],
                    ],
                ], nil)
        ],
        ModelKind.plural: [
            resource(
                ModelKind.self, "employment", ["description": "Whether a person is employed"],
                ["latest_version": 4, "aliases": ["champion": 3]])
        ],
        DatasetKind.plural: [
            resource(
                DatasetKind.self, "employment",
                [
                    "source": ["uri": "employment_MA_reference.csv"], "time": ["event": "year"],
                    "schema": [
                        ["name": "AGEP", "type": "int", "min": 0, "max": 99, "missing": "refuse"],
                        ["name": "SCHL", "type": "category"],
                        ["name": "SEX", "type": "category", "role": "protected"],
                        ["name": "employed", "type": "bool", "role": "target"],
                    ],
                    "expectations": [
                        [
                            "expect": "expect_column_values_to_be_between", "column": "AGEP", "min_value": 0,
                            "max_value": 99, "mostly": 0.999, "severity": "quarantine",
                        ]
                    ],
                ],
                [
                    "versions": [
                        [
                            "digest": .string(digest), "rows": 68782, "quarantined": 3, "run": "run_01kb13",
                            "at": "2026-11-23T08:30:00Z",
                        ],
                        [
                            "digest": "sha256:77aa01", "rows": 68102, "quarantined": 0, "run": "run_01kb9",
                            "at": "2026-11-22T08:30:00Z",
                        ],
                    ]
                ])
        ],
        MonitorKind.plural: [
            resource(
                MonitorKind.self, "employment-live",
                [
                    "service": "employment", "model": "employment@champion",
                    "checks": [
                        "performance": ["metrics": ["auc": ["min": 0.87]]],
                        "bias": ["by": ["SEX", "RAC1P"], "max_tpr_gap": 0.1, "min_selection_ratio": 0.8],
                    ],
                ],
                [
                    "windows": 16, "predictions": 208892, "labelled": 187003, "breaches": ["auc 0.862 is below 0.87"],
                    "updated_at": "2026-11-23T09:58:00Z",
                ])
        ],
    ]
}
