"""git pushes; the server is killed with -9 in the middle of a step; the run goes on; the event log tells if it was touched."""

import glob
import os
import sqlite3

from vagus_process import Vagus, git, wait_for

PIPELINE = """
kind: Pipeline
name: shop
triggers: [{ push: { branches: [main] } }]
variables: { MARKS: "%(marks)s" }
stages:
  - name: build
    type: build
    jobs:
      app:
        steps:
          - checkout: true
          - run: test -f app.sh; echo one >> "$MARKS"
          - run: |
              echo begin-two >> "$MARKS"
              while [ ! -e "$MARKS.go" ]; do sleep 0.05; done
              echo end-two >> "$MARKS"
          - run: echo three >> "$MARKS"
        artifacts: [{ name: app, paths: [app.sh] }]
  - name: test
    type: test
    jobs:
      unit:
        steps:
          - run: |
              test "$VAGUS_JOB" && test "$VAGUS_RUN_ID" && test "$VAGUS_ATTEMPT" && test "$VAGUS_WORKSPACE"
              env | grep -c TOKEN && exit 1
              echo fine
"""


def main():
    with Vagus() as vagus:
        marks = os.path.join(vagus.folder, "marks")
        read = lambda: open(marks).read().split() if os.path.exists(marks) else []
        vagus.run("apply", "-f", "-", input="kind: Repository\nname: shop\n")
        url = wait_for(
            lambda: (vagus.json("get", "repository", "shop").get("status") or {}).get("push_url"), 10, "the repository")

        work = os.path.join(vagus.folder, "work")
        os.makedirs(os.path.join(work, ".vagus"))
        open(os.path.join(work, ".vagus", "pipeline.yaml"), "w").write(PIPELINE % {"marks": marks})
        open(os.path.join(work, "app.sh"), "w").write("echo hi\n")
        git(work, "init", "-q", "-b", "main")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "first")
        git(work, "push", "-q", url, "main")

        wait_for(lambda: "begin-two" in read(), 20, "the second step to begin")
        vagus.kill()
        assert read() == ["one", "begin-two"], read()
        vagus.start()
        wait_for(lambda: read().count("begin-two") == 2, 40, "the second step to begin again")
        open(marks + ".go", "w").close()
        vagus.run("runs", "shop:latest", "--follow")
        assert read() == ["one", "begin-two", "begin-two", "end-two", "three"], read()

        runs = vagus.json("runs")["items"]
        assert [run["status"] for run in runs] == ["succeeded"], runs
        run = vagus.json("runs", "shop:1")
        assert run["trigger"]["type"] == "push" and len(run["commit"]) == 40
        assert [job["status"] for job in run["jobs"]] == ["succeeded", "succeeded"]
        assert [step["attempts"] for step in run["jobs"][0]["steps"]] == [1, 1, 2, 1]
        assert "fine" in vagus.run("logs", "shop:1", "test").stdout
        vagus.run("artifacts", "shop:1", "build.app", "--to", os.path.join(vagus.folder, "app"))
        assert open(os.path.join(vagus.folder, "app")).read() == "echo hi\n"

        print(vagus.run("audit", "verify").stdout.strip())
        vagus.stop()
        with sqlite3.connect(glob.glob(vagus.data + "/vagus.db")[0]) as database:
            database.execute("UPDATE event SET data = replace(data, 'shop', 'shoq') WHERE sequence = 6")
        vagus.start()
        verdict = vagus.run("audit", "verify", check=False)
        print(verdict.stdout.strip())
        assert verdict.returncode == 2 and "event 6 " in verdict.stdout
    print("test_push: passed")


if __name__ == "__main__":
    main()
