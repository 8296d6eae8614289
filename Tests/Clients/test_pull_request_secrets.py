"""What a branch may read a pull request may not: secrets, the environment that guards them, an identity token."""

import os

from vagus_process import Vagus, git, wait_for

CANARY = "canary-value-77c2"
PIPELINE = """
kind: Pipeline
name: shop
triggers: [{ push: { branches: [main] } }, { pull_request: { branches: [main] } }]
variables: { OUT: "%(out)s" }
stages:
  - name: build
    jobs:
      app:
        secrets: [NPM_TOKEN]
        id_token: registry.example.com
        steps:
          - run: printf '%%s|%%s' "$TOKEN" "$(cat "${VAGUS_ID_TOKEN_FILE:-/dev/null}")" > "$OUT/${{ run.trigger }}"
            variables: { TOKEN: "${{ secrets.NPM_TOKEN }}" }
  - name: deploy
    environment: production
    jobs: { app: { steps: [{ run: 'printf %%s "$DB" > "$OUT/${{ run.trigger }}-deploy"', variables: { DB: "${{ secrets.DB_URL }}" } }] } }
"""
ENVIRONMENT = '{ kind: Environment, name: production, secrets: { DB_URL: "vault:kv/shop/prod#db_url" } }\n'


def main():
    with Vagus() as vagus:
        path = lambda name: os.path.join(vagus.folder, name)
        read = lambda name: open(path(name)).read()
        ended = lambda kind: [
            run for run in vagus.json("runs")["items"]
            if run["trigger"]["type"] == kind and run["status"] not in ("queued", "running", "waiting")]
        vagus.run("secret", "set", "NPM_TOKEN", input=CANARY)
        vagus.run("secret", "set", "kv/shop/prod#db_url", "--environment", "production", input=CANARY)
        vagus.run("apply", "-f", "-", input="{ kind: Repository, name: shop }\n---\n" + ENVIRONMENT)
        url = wait_for(
            lambda: (vagus.json("get", "repository", "shop").get("status") or {}).get("push_url"), 10, "the repository")
        work = path("work")
        os.makedirs(os.path.join(work, ".vagus"))
        open(os.path.join(work, ".vagus", "pipeline.yaml"), "w").write(PIPELINE % {"out": vagus.folder})
        git(work, "init", "-q", "-b", "main")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "first")
        git(work, "push", "-q", url, "main")
        run = wait_for(lambda: ended("push"), 30, "the run of the branch")[0]
        assert run["status"] == "succeeded", run
        token, identity = read("push").split("|")
        assert token == CANARY and identity.count(".") == 2, "the branch's run reads them"
        assert read("push-deploy") == CANARY

        git(work, "checkout", "-q", "-b", "evil")
        open(os.path.join(work, "evil.txt"), "w").write("x")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "let me see")
        git(work, "push", "-q", "-o", "pull_request.create", "-o", "pull_request.target=main", url, "evil")
        run = wait_for(lambda: ended("pull_request"), 30, "the run of the pull request")[0]
        assert read("pull_request") == "|", "a pull request's run has read a secret"
        assert not os.path.exists(path("pull_request-deploy"))
        assert run["status"] == "failed" and "is not trusted" in run["reason"], run
        events = vagus.run("audit", "list").stdout
        assert "secret.withheld" in events and "its code is not trusted" in events, events
    print("test_pull_request_secrets: passed")


if __name__ == "__main__":
    main()
