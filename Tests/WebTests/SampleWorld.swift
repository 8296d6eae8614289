import API
import Kernel
import Manifests

@testable import Web

/// A house full of samples for the pages: everything here exists in tests only.
struct SampleWorld {
    static let now = Timestamp("2026-11-23T10:00:00Z") ?? .zero

    static func at(_ secondsAgo: Double) -> Timestamp { now.advanced(by: .seconds(-secondsAgo)) }

    /// Noise that is the same in every test.
    static func wave(_ index: Int, _ speed: Double = 1) -> Double {
        let x = Double(index) * 12.9898 * speed
        let sawtooth = (x * 0.1591549).truncatingRemainder(dividingBy: 1)
        return sawtooth * 2 - 1
    }

    // MARK: - Runs

    static let stages: [(String, StageType, [String])] = [
        ("source", .source_control, []), ("test", .test, ["source"]), ("ingest", .data_ingestion, ["source"]),
        ("validate", .data_validation, ["ingest"]), ("features", .feature_engineering, ["validate"]),
        ("train", .model_training, ["features"]), ("evaluate", .model_validation, ["train"]),
        ("register", .model_registration, ["evaluate", "test"]), ("deploy", .model_deployment, ["register"]),
        ("monitor", .model_monitoring, ["deploy"]),
    ]

    static func run(_ number: Int, _ status: RunStatus, ago: Double, message: String) -> Run {
        var run = Run()
        run.id = "run_01kb\(number)"
        (run.pipeline, run.number, run.status) = ("employment", number, status)
        run.trigger.type = .push
        run.trigger.actor = "git:Ana Ruiz <ana@example.com>"
        run.trigger.ref = "refs/heads/main"
        run.trigger.message = message
        run.repository = "employment"
        run.commit = "8f2c1ab94be07d1\(number)aa31f0c7e2d5b6a9c0"
        run.created_at = at(ago)
        run.started_at = at(ago - 2)
        if status.hasEnded { run.finished_at = at(ago - 212 - 40 * wave(number)) }
        run.jobs = jobs(status, ago: ago)
        if status == .failed { run.reason = "stage \"evaluate\" failed: its gate did not hold" }
        return run
    }

    private static func jobs(_ status: RunStatus, ago: Double) -> [Job] {
        let lengths: [Double] = [3, 14, 21, 9, 17, 62, 11, 1, 74, 20]
        let bad = stages.firstIndex { $0.0 == "evaluate" } ?? 0
        let live = stages.firstIndex { $0.0 == "train" } ?? 0
        var clock = ago - 2
        return stages.enumerated().flatMap { index, stage -> [Job] in
            var job = Job()
            (job.stage, job.name, job.type, job.needs) = (stage.0, stage.0, stage.1, stage.2)
            job.runner = "local"
            job.attempt = 1
            let isBehind = status == .failed && index > bad || status == .running && index > live
            job.status =
                isBehind
                ? (status == .failed ? .skipped : .queued) : status == .failed && index == bad ? .failed : .succeeded
            if status == .running, index == live { job.status = .running }
            if job.status == .skipped { job.reason = "skipped, since stage \"evaluate\" failed" }
            if !isBehind {
                job.started_at = at(clock)
                clock -= lengths[index]
                if job.status != .running { job.finished_at = at(clock) }
            } else {
                job.attempt = 0
            }
            job.steps = [step(job, stage.0)]
            guard stage.0 == "test" else { return [job] }
            var lint = job
            lint.name = "lint"
            var unit = job
            unit.name = "unit"
            unit.outputs["tests"] = [
                "tests": 42, "failures": status == .failed ? 2 : 0, "errors": 0, "skipped": 1,
                "failed_names": status == .failed ? ["ClientTests.testLatency", "ClientTests.test<Script>"] : [],
            ]
            return [unit, lint]
        }
    }

    private static func step(_ job: Job, _ stage: String) -> Step {
        var step = Step()
        let verbs = [
            "source": "checkout", "ingest": "ingest", "validate": "validate", "features": "transform", "train": "train",
            "evaluate": "evaluate", "register": "register", "deploy": "deploy", "monitor": "watch",
        ]
        (step.verb, step.status) = (verbs[stage] ?? "run", job.status)
        step.name = step.verb == "run" ? "./ci/test.sh" : step.verb
        (step.started_at, step.finished_at, step.attempts) = (job.started_at, job.finished_at, job.attempt)
        if job.status == .failed { step.reason = "2 of 4 requirements did not hold" }
        guard job.status.hasEnded, job.status != .skipped else { return step }
        switch stage {
        case "validate": step.report = quality
        case "train":
            step.report = [
                "rounds": .array(
                    (1...60).map { round in
                        let loss = 0.36 + 0.33 / (1 + Double(round) / 7)
                        return [
                            "round": .integer(Int64(round)), "train log loss": .number(loss - 0.012),
                            "test log loss": .number(loss + 0.004),
                        ]
                    })
            ]
        case "evaluate":
            step.metrics = [
                "auc": 0.8931, "log_loss": 0.3712, "brier": 0.1168, "ece": 0.0127, "accuracy": 0.8344, "f1": 0.8652,
            ]
            step.report = gates(job.status == .succeeded)
        default: break
        }
        return step
    }

    private static let quality: JSONValue = [
        "quarantined": 3,
        "expectations": [
            [
                "expect": "expect_column_values_to_not_be_null", "column": "AGEP", "success": true, "severity": "fail",
                "mostly": 1.0, "unexpected_count": 0, "element_count": 68785,
            ],
            [
                "expect": "expect_column_values_to_be_between", "column": "AGEP", "success": false,
                "severity": "quarantine", "mostly": 0.999, "unexpected_count": 3, "element_count": 68785,
                "message": "values from 0 to 99",
            ],
            [
                "expect": "expect_column_values_to_be_in_set", "column": "SEX", "success": true, "severity": "warn",
                "mostly": 1.0, "unexpected_count": 0, "element_count": 68785,
            ],
        ],
        "quarantine": [
            ["row": 1204, "column": "AGEP", "reason": "130 is above 99"],
            ["row": 40233, "column": "AGEP", "reason": "-1 is below 0"],
            ["row": 51118, "column": "<b>AGEP</b>", "reason": "199 is above 99"],
        ],
    ]

    private static func gates(_ passed: Bool) -> JSONValue {
        [
            "champion": ["version": 3, "metrics": ["auc": 0.8944, "log_loss": 0.3699]],
            "gates": [
                ["require": "auc >= 0.80", "passed": true, "message": "0.8931"],
                [
                    "require": "auc - champion.auc >= -0.005", "passed": .bool(passed),
                    "message": "auc 0.8931, champion.auc 0.8944",
                ],
                ["require": "ece <= 0.05", "passed": true, "message": "0.0127"],
                ["require": "bias.SEX.tpr_gap <= 0.10", "passed": .bool(passed), "message": "0.131"],
            ],
        ]
    }

    static let runs: [Run] = {
        let messages = [
            "Train on the years before 2018", "Scale the ages, bin the hours",
            "Break the artifact on purpose <script>alert(1)</script>",
            "Add the fairness gate", "Monitor by year", "First pipeline",
        ]
        return (0..<14).map { index in
            let number = 14 - index
            let status: RunStatus = index == 0 ? .running : index == 2 ? .failed : index == 7 ? .cancelled : .succeeded
            return run(
                number, status, ago: index == 0 ? 90 : Double(index) * 5_400 + 300,
                message: messages[index % messages.count])
        }
    }()

    static let log: String = {
        var lines = [
            "\u{1B}[1mtrain\u{1B}[0m xgboost 3.2.0, 51,588 rows, 34 features",
            "\u{1B}[36mhyperparameters\u{1B}[0m max_depth 6, eta 0.1",
        ]
        for round in 1...60 {
            lines.append("round \(round)  train log loss 0.\(690 - round * 4)  test log loss 0.\(695 - round * 4)")
        }
        lines.append("\u{1B}[33mwarning\u{1B}[0m: 3 rows have <missing> & odd \"values\"")
        lines.append("\u{1B}[32mdone\u{1B}[0m in 61.8 s")
        return lines.joined(separator: "\n") + "\n"
    }()
}
