import Conversion
import Manifests
import Testing

@Suite struct GitHubTests {
    @Test func `triggers, parameters and settings of the whole`() throws {
        let it = try Sample.converted("github-node.yml").documents[0]
        #expect(it["kind"] == "Pipeline" && it["name"] == "ci")
        #expect(
            it["triggers"] == [
                ["push": ["branches": ["main", "release/**"], "paths_ignore": ["docs/**"]]],
                ["pull_request": ["types": ["opened", "synchronize"]]], ["schedule": ["cron": "0 3 * * 1"]],
            ])
        #expect(it["parameters"]?["level"] == ["default": "a", "description": "How deep", "choices": ["a", "b"]])
        #expect(it["parameters"]?["dry"] == ["type": "bool"])
        #expect(
            it["concurrency"] == [
                "group": "ci-${{ ref }}", "limit": 1, "queue": "latest", "cancel_running": "pull_request",
            ])
        #expect(it["variables"]?["REF"] == "${{ (branch || tag) }}")
        #expect(it["variables"]?["GITHUB_REPOSITORY"] == "")
    }

    @Test func `a job becomes a stage with its parts`() throws {
        let it = try Sample.converted("github-node.yml")
        #expect(it.stage("build")?["needs"] == [] && it.stage("build")?["type"] == "build")
        let build = it.job("build")
        #expect(build?["timeout"] == "20m" && build?["outputs"] == ["tag": "${{ steps.meta.outputs.tag }}"])
        #expect(build?["secrets"] == ["PAT", "NPM_TOKEN"] || build?["secrets"] == ["NPM_TOKEN"])
        #expect(build?["id_token"] == ["audience": "vagus"])
        #expect(
            build?["cache"] == [
                ["key": "npm-${{ hashFiles('package-lock.json') }}", "restore": ["npm-"], "paths": ["node_modules"]]
            ])
        #expect(
            build?["artifacts"] == [
                [
                    "name": "dist-files", "paths": ["dist"], "exclude": ["dist/*.map"], "expire": "7d",
                    "if_missing": "error", "when": "always",
                ]
            ])
        let steps = it.steps("build")
        #expect(steps[0] == ["checkout": ["depth": 0]])
        #expect(steps[1] == ["name": "setup-node 20", "run": "node --version"])
        #expect(steps[2]["run"] == "echo \"tag=${VAGUS_COMMIT::7}\" >> \"$VAGUS_OUTPUT\"")
        #expect(steps[2]["working_directory"] == "app" && steps[2]["shell"] == nil)
        #expect(steps[3]["variables"] == ["TOKEN": "${{ secrets.NPM_TOKEN }}"])
        #expect(steps.count == 4)
    }

    @Test func `matrix, container, services and conditions`() throws {
        let it = try Sample.converted("github-node.yml")
        let stage = it.stage("unit_tests")
        #expect(stage?["needs"] == ["build"])
        #expect(stage?["if"] == "needs.build.result == 'succeeded' && run.trigger != 'manual'")
        let job = it.job("unit_tests")
        #expect(job?["matrix"] == ["node": [18, 20], "include": [["node": 22, "experimental": true]]])
        #expect(job?["fail_fast"] == false && job?["max_parallel"] == 2 && job?["allow_failure"] == true)
        #expect(job?["runs_on"] == ["labels": ["gpu"]] && job?["container"] == "node:${{ matrix.node }}")
        #expect(
            job?["services"]?["postgres"] == [
                "image": "postgres:16", "env": ["POSTGRES_PASSWORD": "x"], "ports": [5432],
                "health": ["exec": "pg_isready", "interval": "10s", "retries": 5],
            ])
        #expect(it.reasons("jobs.Unit_Tests.services.postgres.options") == ["--cpus 1 has no counterpart"])
        #expect(it.steps("unit_tests")[1] == ["fetch": ["artifact": "build.dist-files", "to": "dist"]])
        #expect(it.steps("unit_tests")[3]["if"] == "failure() && steps.x.outcome == 'failed'")
        #expect(it.steps("unit_tests")[3]["run"]?.string?.contains("exit 1") == true)
        let deploy = it.stage("deploy")
        #expect(deploy?["environment"] == "production" && deploy?["if"] == "ref == 'refs/heads/main'")
        #expect(deploy?["needs"] == ["build", "unit_tests"])
        let script = it.steps("deploy")[0]["run"]?.string
        #expect(
            script?.contains(
                "./deploy ${{ needs.unit_tests.result }} ${{ vars.GITHUB_REPOSITORY }} ${{ null }} $RUNNER_OS") == true)
        #expect(it.job("deploy")?["variables"] == ["RUNNER_OS": "${{ runner.os }}"])
        #expect(
            it.reasons("jobs.deploy.steps.0.run") == [
                "it tells succeeded and failed where GitHub says success and failure",
                "the expression reads \"github.token\", which there is not: it is null now",
                "the script reads GITHUB_API_URL, which is not set", ShellTests.reason,
            ])
    }

    @Test func `pipelines that use each other`() throws {
        let called = try Sample.converted("github-reusable.yml")
        #expect(called.documents[0]["parameters"]?["target"] == ["description": "Where to"])
        #expect(called.documents[0]["parameters"]?["replicas"] == ["type": "number", "default": 2])
        #expect(called.documents[0]["parameters"]?["fast"] == ["type": "bool", "default": false])
        #expect(called.documents[0]["outputs"] == ["url": "${{ needs.go.outputs.url }}"])
        #expect(
            called.steps("go")[0]["run"]
                == "deploy --to ${{ parameters.target }} --n ${{ parameters.replicas }} >> $VAGUS_OUTPUT")
        let caller = try Sample.converted("github-caller.yml")
        #expect(caller.documents[0]["name"] == "github-caller")
        #expect(
            caller.stage("staging")?["uses"] == [
                "pipeline": "deploy-one", "with": ["target": "staging", "replicas": "${{ run.number }}"],
            ])
        #expect(caller.stage("production")?["uses"]?["pipeline"] == "deploy")
        #expect(caller.reasons("on.2") == ["nothing here tells of the event \"fork\""])
        #expect(caller.documents[0]["triggers"] == [["push": ["branches": ["**"], "tags": ["**"]]]])
    }

    @Test func `a dynamic matrix, filters and other shells`() throws {
        let it = try Sample.converted("github-monorepo.yml")
        #expect(it.documents[0]["triggers"]?[0]?["pull_request"]?["trusted"] == true)
        #expect(
            it.stage("each")?["if"]
                == "needs.changes.outputs.list != '[]' && contains(null, 'ci')")
        #expect(
            it.reasons("jobs.each.if") == [
                "the expression reads \"github.event.pull_request.labels.*.name\", which there is not: it is null now"
            ])
        #expect(it.job("each")?["matrix"] == ["package": "${{ fromJSON(needs.changes.outputs.list) }}"])
        #expect(it.job("each")?["runs_on"] == ["labels": ["arm64"]])
        #expect(it.steps("changes")[1]["shell"] == "python")
        #expect(it.steps("changes")[1]["run"]?.string?.contains("os.environ[\"VAGUS_OUTPUT\"]") == true)
        #expect(it.steps("changes")[0] == ["checkout": ["path": "src", "repository": "mono"]])
        #expect(it.steps("each")[2]["if"] == "always() && event.pull_request.base == 'main' && job.status == 'failure'")
        #expect(it.steps("each")[2]["run"]?.string?.contains("$VAGUS_SUMMARY") == true)
        #expect(it.steps("done")[0]["run"] == "test '${{ contains(needs.*.result, 'failed') }}' = false")
    }

    @Test func `merge keys and anchors are read through`() throws {
        let it = try Sample.converted("github-rust.yml")
        #expect(it.job("audit")?["timeout"] == "15m")
        #expect(it.steps("audit").count == it.steps("check").count)
        #expect(it.job("check")?["variables"] == ["CARGO_TERM_COLOR": "always", "RUSTFLAGS": "-D warnings"])
        #expect(
            it.job("check")?["cache"]?[0]?["key"]
                == "cargo-${{ runner.os }}-${{ hashFiles('**/Cargo.lock', 'rust-toolchain*') }}")
        #expect(it.job("macos")?["runs_on"] == ["labels": ["macos-14"]])
    }

    @Test(arguments: [
        ("${{ github.ref }}", "${{ ref }}"), ("a ${{github.sha}} b", "a ${{ commit }} b"),
        ("${{ github.event.inputs.x }}", "${{ parameters.x }}"), ("${{ inputs.Deep-x }}", "${{ parameters.Deep-x }}"),
        ("${{ github.event['action'] }}", "${{ event.action }}"), ("${{ 'github.ref' }}", "${{ 'github.ref' }}"),
        ("${{ format('{0}', github.actor) }}", "${{ format('{0}', run.actor) }}"), ("no ${ } here", "no ${ } here"),
        ("${{ needs.A.outputs.b }}", "${{ needs.a.outputs.b }}"),
        ("${{ matrix.os == 'it''s' }}", "${{ matrix.os == 'it''s' }}"),
        ("${{ env.X && true || null }}", "${{ env.X && true || null }}"),
        ("${{ steps.a.outcome == 'success' }}", "${{ steps.a.outcome == 'succeeded' }}"),
        ("${{ secrets.x }}-${{ github.nothing }}", "${{ secrets.x }}-${{ null }}"),
    ])
    func `expressions are rewritten`(theirs: String, ours: String) throws {
        let yaml: JSONValue = ["on": "push", "jobs": ["A": ["runs-on": "x", "steps": [["run": .string(theirs)]]]]]
        #expect(try Sample.converted(text: yaml.yaml).steps("a")[0]["run"] == .string(ours))
    }

    @Test(arguments: [
        ("github.head_ref", "event.pull_request.head"),
        ("github.base_ref == 'main'", "event.pull_request.base == 'main'"),
        ("github.event.number", "event.number"), ("github.event.pull_request.number", "event.pull_request.number"),
        ("github.event.pull_request.title", "event.pull_request.title"),
        ("github.event.pull_request.head.ref", "event.pull_request.head"),
        ("github.event.pull_request.head.sha", "event.pull_request.head_commit"),
        ("github.event.pull_request.head.repo.fork", "event.pull_request.is_fork"),
        ("github.event.pull_request.base.ref", "event.pull_request.base"),
        ("github.event.pull_request.user.login", "event.pull_request.author"),
        ("github.event.pull_request.merged", "event.pull_request.merged"),
        ("github.event.head_commit.message", "event.message"), ("github.event.after", "event.after"),
        ("github.event.before != '0000000000000000000000000000000000000000'", "event.before != ''"),
        ("github.event.schedule == '0 3 * * 1'", "event.cron == '0 3 * * 1'"),
        ("github.event.workflow_run.conclusion == 'success'", "event.run.status == 'succeeded'"),
        ("github.event.workflow_run.name == 'Build it'", "event.run.pipeline == 'build-it'"),
    ])
    func `what our events carry is found in them`(theirs: String, ours: String) throws {
        let it = try Self.converted(run: "${{ \(theirs) }}")
        #expect(it.steps("a")[0]["run"] == .string("${{ \(ours) }}"))
        #expect(it.notes.allSatisfy { $0.kind != .lost })
    }

    @Test(arguments: [
        "github.event.pull_request.draft", "github.event.pull_request.labels.*.name", "github.event.issue.number",
        "github.event.pull_request.base.sha", "github.event.repository.default_branch", "github.event.forced",
    ])
    func `what our events do not carry is listed`(theirs: String) throws {
        let it = try Self.converted(run: "${{ \(theirs) }}")
        #expect(it.steps("a")[0]["run"] == "${{ null }}")
        let reason = "the expression reads \"\(theirs)\", which there is not: it is null now"
        #expect(it.reasons("jobs.a.steps.0.run") == [reason])
    }

    @Test func `a head of a pull request in scripts and variables`() throws {
        let it = try Self.converted(run: "git diff $GITHUB_BASE_REF $GITHUB_HEAD_REF")
        #expect(
            it.job("a")?["variables"] == [
                "GITHUB_BASE_REF": "${{ event.pull_request.base }}",
                "GITHUB_HEAD_REF": "${{ event.pull_request.head }}",
            ])
        let services = try Sample.converted("github-services.yml")
        #expect(services.steps("it")[1]["name"] == "Wait for ${{ event.message }}")
        #expect(services.steps("it")[3]["variables"] == ["HEAD": "${{ event.pull_request.head || (branch || tag) }}"])
        #expect(try Sample.converted("github-docker.yml").stage("image")?["if"] == "event.run.status == 'succeeded'")
    }

    @Test(arguments: [
        ("contains(needs.*.result, 'failure')", "contains(needs.*.result, 'failed')", false),
        ("contains(join(needs.*.result, ','), 'success')", "contains(join(needs.*.result, ','), 'succeeded')", false),
        ("contains(toJSON(needs), 'failure')", "contains(toJSON(needs), 'failed')", false),
        (
            "contains(fromJSON('[\"success\", \"skipped\"]'), needs.a.result)",
            "contains(fromJSON('[\"succeeded\", \"skipped\"]'), needs.a.result)", false
        ),
        ("'success' != steps.s.conclusion", "'succeeded' != steps.s.conclusion", false),
        ("needs.a.result == needs.a.result", "needs.a.result == needs.a.result", false),
        ("needs.a.outputs.result == 'success'", "needs.a.outputs.result == 'success'", false),
        ("steps.s.outcome", "steps.s.outcome", true), ("needs.a.result", "needs.a.result", true),
        ("join(needs.*.result, ',')", "join(needs.*.result, ',')", true),
        ("format('it was {0}', needs.a.result)", "format('it was {0}', needs.a.result)", true),
        ("toJSON(needs)", "toJSON(needs)", true),
    ])
    func `words of how something ended are ours, or listed`(theirs: String, ours: String, isTold: Bool) throws {
        let it = try Self.converted(run: "${{ \(theirs) }}")
        #expect(it.steps("a")[0]["run"] == .string("${{ \(ours) }}"))
        let told = ["it tells succeeded and failed where GitHub says success and failure"]
        #expect(it.reasons("jobs.a.steps.0.run") == (isTold ? told : []))
    }

    @Test func `no environment is an expression, a label may be one`() throws {
        let it = try Sample.converted(
            text: """
                on: push
                jobs:
                  a:
                    runs-on: ["${{ matrix.os }}", gpu]
                    environment: { name: "${{ inputs.where }}", url: x }
                    steps: [{ run: x }]
                  b:
                    runs-on: ${{ fromJSON(needs.a.outputs.labels) }}
                    environment: production
                    steps: [{ run: x }]
                """)
        #expect(it.stage("a")?["environment"] == nil && it.stage("b")?["environment"] == "production")
        #expect(it.reasons("jobs.a.environment.name").first?.contains("write a job for each") == true)
        #expect(it.job("a")?["runs_on"] == ["labels": ["${{ matrix.os }}", "gpu"]] && it.job("b")?["runs_on"] == nil)
        #expect(it.reasons("jobs.b.runs-on").count == 1)
    }

    /// A workflow with one job and one step.
    private static func converted(run: String) throws -> Converted {
        let yaml: JSONValue = ["on": "push", "jobs": ["a": ["runs-on": "x", "steps": [["run": .string(run)]]]]]
        return try Sample.converted(text: yaml.yaml)
    }
}
