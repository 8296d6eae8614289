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
        #expect(it["parameters"]?["level"] == ["default": "a", "description": "How deep"])
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
                "the expression reads \"github.token\", which there is not: it is null now",
                "the script reads GITHUB_API_URL, which is not set",
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
                == "needs.changes.outputs.list != '[]' && contains(event.pull_request.labels.*.name, 'ci')")
        #expect(it.job("each")?["matrix"] == ["package": "${{ fromJSON(needs.changes.outputs.list) }}"])
        #expect(it.job("each")?["runs_on"] == ["labels": ["arm64"]])
        #expect(it.steps("changes")[1]["shell"] == "python")
        #expect(it.steps("changes")[1]["run"]?.string?.contains("os.environ[\"VAGUS_OUTPUT\"]") == true)
        #expect(it.steps("changes")[0] == ["checkout": ["path": "src", "repository": "mono"]])
        #expect(it.steps("each")[2]["if"] == "always() && base_ref == 'refs/heads/main' && job.status == 'failure'")
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
        ("${{ github.event['action'] }}", "${{ event['action'] }}"), ("${{ 'github.ref' }}", "${{ 'github.ref' }}"),
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
}
