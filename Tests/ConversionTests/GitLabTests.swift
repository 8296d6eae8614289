import Conversion
import Manifests
import Testing

@Suite struct GitLabTests {
    @Test func `stages order jobs, files go on, values too`() throws {
        let it = try Sample.converted("gitlab-java.yml")
        #expect(it.documents[0]["stages"]?.array?.compactMap { $0["name"]?.string } == ["compile", "unit", "deploy"])
        #expect(it.stage("compile")?["needs"] == [] && it.stage("unit")?["needs"] == ["compile"])
        #expect(it.stage("deploy")?["needs"] == ["unit"])
        #expect(
            it.steps("unit")[0] == ["checkout": ["depth": 20]] && it.steps("unit")[1] == ["fetch": "compile.compile"])
        #expect(it.steps("unit")[2]["run"] == "mvn -B test\necho \"VERSION=1.2.$VAGUS_RUN_NUMBER\" >> build.env\n")
        #expect(
            it.steps("unit")[3] == ["id": "dotenv", "name": "dotenv", "run": "cat build.env >> \"$VAGUS_OUTPUT\"\n"])
        let unit = it.job("unit")
        #expect(unit?["outputs"] == ["VERSION": "${{ steps.dotenv.outputs.VERSION }}"])
        #expect(unit?["timeout"] == "90m" && unit?["container"] == "maven:3.9-eclipse-temurin-21")
        #expect(unit?["retry"] == ["max": 2, "for": ["runner_lost", "failure"]])
        #expect(unit?["reports"] == ["junit": "target/surefire-reports/*.xml", "coverage": "c.xml"])
        #expect(
            it.job("compile")?["artifacts"] == [
                ["name": "compile", "paths": ["target"], "expire": "7d", "when": "success"]
            ])
        #expect(
            it.job("compile")?["cache"] == [
                ["key": "${{ (branch || tag) }}-${{ hashFiles('pom.xml') }}", "paths": [".m2"]]
            ])
        let deploy = it.job("deploy")
        #expect(deploy?["variables"] == ["VERSION": "${{ needs.unit.outputs.VERSION }}"])
        #expect(it.stage("deploy")?["concurrency"] == ["group": "production", "limit": 1, "queue": "fifo"])
        #expect(it.stage("deploy")?["if"] == "false" && it.stage("deploy")?["environment"] == "production")
        #expect(
            it.steps("deploy").last?["run"]
                == "set +u\n./deploy $VERSION $VAGUS_COMMIT $CI_COMMIT_BRANCH $CI_REGISTRY_IMAGE\n")
        #expect(
            it.documents[0]["parameters"] == [
                "DEPLOY": ["default": "no", "description": "Whether to deploy", "choices": ["yes", "no"]]
            ])
        #expect(it.documents[0]["variables"]?["DEPLOY"] == "${{ parameters.DEPLOY }}")
        #expect(it.documents[0]["variables"]?["CI_COMMIT_BRANCH"] == "${{ branch }}")
        #expect(it.documents[0]["variables"]?["MAVEN_OPTS"] == "-Dmaven.repo.local=${{ job.workspace }}/.m2")
        #expect(
            it.reasons("deploy.rules.0.when").first?.hasSuffix(
                "and write `if: branch == 'main' && parameters.DEPLOY != 'no'`") == true)
        #expect(it.reasons("stop") == ["it never runs"])
    }

    @Test func `rules are one condition, the first that matches counting`() throws {
        let it = try Sample.converted("gitlab-rules.yml")
        #expect(
            it.documents[0]["triggers"]?[0]?["if"]
                == "'push' == 'pull_request' || false || startsWith(branch, 'release/')")
        #expect(it.stage("a")?["if"] == "!(run.trigger == 'schedule')")
        #expect(it.stage("b")?["if"] == "branch != 'main' && always()")
        #expect(it.stage("c")?["if"] == "failure()")
        #expect(it.stage("c")?["needs"] == ["a", ["stage": "b", "optional": true]])
        #expect(it.stage("d")?["needs"] == [] && it.job("d")?["allow_failure"] == ["exit_codes": [137, 3]])
        #expect(it.steps("a").last?["run"] == "echo setup\necho a\n" && it.steps("b").last?["run"] == "echo b\n")
        #expect(it.job("b")?["runs_on"] == ["labels": ["docker"]])
        #expect(it.documents[0]["concurrency"]?["cancel_running"] == "always")
    }

    @Test(arguments: [
        ("[{ if: '$X' }]", "vars.X"), ("[{ if: '$X == null' }]", "vars.X == null"),
        ("[{ if: '$CI_COMMIT_TAG' }, { if: '$CI_COMMIT_BRANCH' }]", "tag || branch"),
        ("[{ if: '$X', when: never }, { when: always }]", "!(vars.X) && (always())"),
        ("[{ if: '$A || $B', when: never }, { if: '$C' }]", "!(vars.A || vars.B) && (vars.C)"),
        ("[{ if: '$X !~ /^a$/' }]", "!(vars.X == 'a')"), ("[{ if: '$X =~ /b/' }]", "contains(vars.X, 'b')"),
        ("[{ if: '$X =~ /\\.c$/' }]", "endsWith(vars.X, '.c')"), ("[{ if: '$X =~ /a|b/' }]", "false"),
        ("[{ when: never }]", "false"), ("[{ when: manual }]", "false"), ("[{ if: '$X', when: manual }]", "false"),
        ("[{ if: '$X', when: manual }, { if: '$Y' }]", "!(vars.X) && (vars.Y)"),
        ("[{ if: '!($X == \"y\")' }]", "!(vars.X == 'y')"),
    ])
    func `a rule in our words`(rules: String, expected: String) throws {
        let it = try Sample.converted(text: "a:\n  script: [x]\n  rules: \(rules)\n")
        #expect(it.stage("a")?["if"] == .string(expected))
    }

    @Test func `templates, references and includes`() throws {
        let base = try #require(
            try YAML.documents(".base: { timeout: 10 minutes, only: [main] }\nextra: { script: [e], stage: prep }")
                .first)
        let document = try Sample.document("gitlab-templates.yml")
        let it = try Conversion.convert(document, from: .gitlab, name: "x") { $0 == "ci/base.yml" ? base : nil }
        #expect(it.steps("one")[1]["run"] == "apt-get update\napt-get install -y jq\nnpm ci\n")
        #expect(it.steps("one")[2]["if"] == "always()")
        #expect(it.job("one")?["container"] == ["image": "node:20", "pull": "missing"])
        #expect(it.job("one")?["variables"] == ["A": "1", "B": "three"])
        #expect(it.job("one")?["retry"] == ["max": 1, "for": ["failure", "timeout"]])
        #expect(it.job("two")?["timeout"] == "10m" && it.stage("two")?["if"] == "branch == 'main' || tag == 'main'")
        #expect(it.stage("extra") != nil && it.job("two")?["variables"] == ["A": "1", "B": "two"])
        #expect(it.reasons("include.1").count == 1 && it.reasons("include.2").count == 1)
        #expect(it.reasons(".never-used") == ["no job uses \".never-used\""])
    }

    @Test func `cells and shards`() throws {
        let it = try Sample.converted("gitlab-matrix.yml")
        #expect(it.job("build")?["matrix"]?["include"]?.array?.count == 4)
        #expect(it.job("build")?["matrix"]?["include"]?[1] == ["PROVIDER": "aws", "STACK": "app"])
        #expect(it.job("build")?["variables"]?["STACK"] == "${{ matrix.STACK }}")
        #expect(it.job("shards")?["matrix"] == ["index": [1, 2, 3]] && it.job("shards")?["fail_fast"] == false)
        #expect(it.steps("shards")[2]["run"] == "run --shard $CI_NODE_INDEX/$CI_NODE_TOTAL\n")
        #expect(it.reasons("shards.script").isEmpty, "the job sets both")
        #expect(it.job("shards")?["services"]?["kafka"]?["image"] == "registry.local/team/kafka:3")
        #expect(
            it.stage("only-aws")?["needs"] == [
                ["stage": "build", "job": "build", "matrix": ["PROVIDER": "aws", "STACK": "app"]]
            ])
        #expect(it.job("only-aws")?["id_token"] == ["audience": "sts.amazonaws.com"])
        #expect(it.stage("downstream")?["uses"] == ["pipeline": "child"])
        #expect(it.stage("other")?["uses"] == ["pipeline": "ops"])
    }

    @Test func `the older words`() throws {
        let it = try Sample.converted("gitlab-legacy.yml")
        #expect(
            it.stage("rspec")?["if"]
                == "(branch || run.trigger == 'pull_request') && !(startsWith((branch || tag), 'wip-') || run.trigger == 'schedule')"
        )
        #expect(it.steps("rspec")[1]["run"] == "bundle install\nbundle exec rspec\n")
        #expect(it.stage("release-job")?["if"] == "tag")
        #expect(it.stage("pages")?["environment"] == nil)
        #expect(it.reasons("pages.environment").first?.contains("write a job for each") == true)
    }

    @Test func `merge keys that follow each other are one, and lines stay`() throws {
        let text =
            ".a: &a\n  image: one\n.b: &b\n  image: two\n  tags: [x]\njob:\n  <<: *a\n  <<: *b\n  script: [y]\n  oops: 1\n"
        #expect(throws: ManifestError.self) { try YAML.documents(text) }
        let joined = Merging.joined(text)
        #expect(joined.contains("  <<: [*b, *a]\n\n  script"))
        let it = try Sample.converted(text: joined)
        #expect(it.job("job")?["container"] == "two" && it.job("job")?["runs_on"] == ["labels": ["x"]])
        #expect(it.notes.first { $0.path == ["job", "oops"] }?.line == 10)
        #expect(Merging.joined("a: 1\n<<: *x\nb: 2\n") == "a: 1\n<<: *x\nb: 2\n")
    }

    @Test func `a job that a person starts does not start by itself`() throws {
        let it = try Sample.converted(
            text: """
                stages: [build, ask, deploy]
                build: { stage: build, script: [x] }
                free: { stage: ask, script: [x], when: manual, artifacts: { paths: [o] } }
                held: { stage: ask, script: [x], when: manual, allow_failure: false, only: [main] }
                ruled: { stage: ask, script: [x], rules: [{ if: $GO, when: manual }] }
                lent: { stage: ask, script: [x], when: manual, rules: [{ if: $A, when: on_success }, { if: $B }] }
                deploy: { stage: deploy, script: [x] }
                late: { stage: deploy, script: [x], needs: [{ job: ruled, optional: true }] }
                """)
        for name in ["free", "held", "ruled"] { #expect(it.stage(name)?["if"] == "false", "\(name)") }
        #expect(it.stage("lent")?["if"] == "vars.A")
        // What a person must let go on waits, what a person may start besides is not waited for.
        #expect(it.stage("deploy")?["needs"] == [["stage": "free", "optional": true], "held", "ruled", "lent"])
        #expect(it.stage("late")?["needs"] == ["ruled"])
        #expect(it.steps("deploy").allSatisfy { $0["fetch"] == nil })
        #expect(it.reasons("free.when").first?.hasSuffix("take the `if` out") == true)
        #expect(it.reasons("held.when").first?.hasSuffix("write `if: branch == 'main' || tag == 'main'`") == true)
        #expect(it.reasons("lent.when").first?.hasSuffix("write `if: vars.B`") == true)
        #expect(it.notes.filter { $0.reason.contains("a person starts it") }.allSatisfy { $0.kind == .lost })
    }
}
