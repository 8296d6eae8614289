import API
import Manifests

@testable import Web

/// A run that waits in all ways there are, what waits at gates, and a fleet; their words hostile.
enum SampleWaiting {
    static let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    static let stale = "sha256:1b4f0e9851971998e732078544c96b36c3d01cedf7caa332359d6f1d83567014"

    private static func job(_ stage: String, _ name: String, _ status: RunStatus, needs: [String] = []) -> Job {
        var job = Job()
        (job.stage, job.name, job.status, job.needs) = (stage, name, status, needs)
        return job
    }

    private static func cell(_ number: Int, _ status: RunStatus) -> Job {
        var cell = job("test", "unit.\(number)", status, needs: ["build"])
        (cell.title, cell.matrix) = ("unit (debian\(number), 6.3)", ["os": .string("debian\(number)"), "swift": 6.3])
        if status.hasEnded { (cell.started_at, cell.finished_at) = (SampleWorld.at(500), SampleWorld.at(470)) }
        return cell
    }

    static let run: Run = {
        var run = Run()
        (run.id, run.pipeline, run.number, run.status) = ("run_01kb15", "shop", 15, .waiting)
        run.trigger.type = .push
        (run.trigger.actor, run.trigger.message) = ("git:Ana <ana@example.com>", "Sell <script>alert(1)</script>")
        (run.created_at, run.started_at) = (SampleWorld.at(600), SampleWorld.at(590))
        var build = job("build", "build", .succeeded)
        (build.started_at, build.finished_at) = (SampleWorld.at(590), SampleWorld.at(510))
        var again = cell(2, .running)
        (again.started_at, again.attempt, again.runner) = (SampleWorld.at(500), 2, "den")
        var lost = JobAttempt()
        (lost.runner, lost.status, lost.cause, lost.reason) = ("attic", .failed, .runner_lost, "no word for 15 s")
        (lost.started_at, lost.finished_at) = (SampleWorld.at(500), SampleWorld.at(480))
        var now = JobAttempt()
        (now.attempt, now.runner, now.status, now.log_offset) = (2, "den", .running, 60)
        now.started_at = SampleWorld.at(470)
        again.attempts = [lost, now]
        var ready = cell(3, .queued)
        (ready.reason, ready.ready_at) = ("no runner has the label gpu", SampleWorld.at(505))
        var asked = RunsOn()
        (asked.labels, asked.executor, asked.cpu) = (["gpu"], .podman, CPUAmount(2))
        asked.memory = ByteSize(bytes: 1 << 30)
        ready.runs_on = asked
        var gated = job("deploy", "deploy", .waiting, needs: ["build"])
        gated.reason = "waits for 1 of 2 approvals for environment \"production\""
        var behind = job("report", "report", .queued, needs: ["deploy"])
        behind.reason = "waits for stage \"deploy\""
        run.jobs = [build, cell(1, .succeeded), again, ready, cell(4, .succeeded), cell(5, .succeeded), gated, behind]
        run.gates = [gate]
        return run
    }()

    /// As the list of approvals tells it to who may say yes.
    static let mine: Gate = {
        var mine = Self.gate
        mine.mine = true
        return mine
    }()

    static let gate: Gate = {
        var gate = Gate()
        (gate.run, gate.pipeline, gate.number) = ("run_01kb15", "shop", 15)
        (gate.stage, gate.job, gate.environment) = ("deploy", "deploy", "production")
        (gate.digest, gate.commit, gate.ref) = (digest, "8f2c1ab94be07d15aa31f0c7e2d5b6a9c0", "refs/heads/main")
        (gate.message, gate.actor) = ("Sell <script>alert(1)</script>", "git:Ana <ana@example.com>")
        gate.reason = "waits for 1 of 2 approvals for environment \"production\""
        (gate.began_at, gate.expires_at) = (SampleWorld.at(400), SampleWorld.at(-86_000))
        (gate.min, gate.from, gate.comment) = (2, ["team:sre", "user:dan"], .required)
        var old = Approval()
        (old.by, old.digest, old.at, old.is_void) = ("dan", stale, SampleWorld.at(390), true)
        var said = Approval()
        (said.by, said.digest, said.at, said.comment) = ("cleo", digest, SampleWorld.at(100), "seen <img src=x>")
        gate.approvals = [old, said]
        var check = GateCheck()
        (check.title, check.status, check.message) = ("https://itsm.example.com", .passed, "ok")
        (check.began_at, check.ended_at) = (SampleWorld.at(400), SampleWorld.at(395))
        gate.checks = [check]
        return gate
    }()

    /// A gate of another run that the visitor may not open, as they have written what waits.
    static let foreign: Gate = {
        var gate = Self.gate
        (gate.run, gate.number, gate.from, gate.approvals, gate.checks) = ("run_01kb14", 14, [], [], [])
        (gate.pipeline, gate.comment) = ("employment", .optional)
        return gate
    }()

    static let runners: [RunnerInfo] = {
        var den = RunnerInfo()
        (den.name, den.labels, den.capacity, den.version) = ("den", ["linux", "<img src=x>"], 2, "1.2.0")
        (den.seen_at, den.executors) = (SampleWorld.at(3), [.process, .podman])
        (den.cpu, den.memory) = (CPUAmount(4), ByteSize(bytes: 8 << 30))
        den.jobs = ["run_01kb15/test/unit.2", "run_01kb14/train/train"]
        var attic = RunnerInfo()
        (attic.name, attic.seen_at, attic.executors) = ("attic", SampleWorld.at(900), [.process])
        var leaving = RunnerInfo()
        (leaving.name, leaving.seen_at, leaving.is_draining) = ("leaving", SampleWorld.at(8), true)
        return [attic, den, leaving]
    }()

    static let triggers: [TriggerInfo] = {
        let specs: [JSONValue] = [
            ["push": ["branches": ["main", "release/*"], "paths": ["src/**"]]],
            ["schedule": ["cron": "0 3 * * *", "tz": "Europe/Berlin"]], ["alert": ["name": "<img src=x>"]],
        ]
        return specs.map { spec in
            var info = TriggerInfo()
            info.spec = spec
            if spec["schedule"] != nil {
                (info.next, info.last_at) = ([SampleWorld.at(-57_600)], SampleWorld.at(28_800))
            }
            return info
        }
    }()

    static let pulls: [PullRequest] = {
        var pull = PullRequest()
        (pull.number, pull.title, pull.author) = (7, "Sell more <script>alert(1)</script>", "Ben <ben@example.com>")
        (pull.head_ref, pull.base_ref, pull.is_fork) = ("refs/heads/more", "refs/heads/main", true)
        (pull.head_commit, pull.url) = ("3f1c2ab4d5e6f708192a3b4c5d6e7f8091a2b3c4", "javascript:alert(1)")
        pull.updated_at = SampleWorld.at(1200)
        var other = pull
        (other.number, other.url, other.is_fork) = (6, "https://forge.example/shop/pulls/6", false)
        return [pull, other]
    }()
}
