"""`vagus run --local`, `vagus shell` and `vagus convert` with the real binary: no server, the work tree as it stands."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from vagus_process import BINARY, Vagus, git, wait_for

PIPELINE = """
kind: Pipeline
name: shop
parameters: { word: { default: hello } }
triggers: [{ push: { branches: [main] } }]
stages:
  - name: build
    jobs:
      app:
        steps:
          - checkout: true
          - { id: make, run: 'cat a.txt; ls; echo "word=${{ parameters.word }}" >> "$VAGUS_OUTPUT"' }
        outputs: { word: "${{ steps.make.outputs.word }}" }
  - name: test
    variables: { COLOUR: blue }
    jobs:
      unit: { steps: [{ run: 'echo kept > kept.txt; test "${{ needs.build.outputs.word }}" != bad' }] }
      slow: { steps: [{ run: 'test "${{ inputs.word }}" != wait || { echo waiting; sleep 60; }' }] }
---
kind: Environment
name: staging
"""


class Shop:
    """A git work tree with a pipeline."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "shop")
        os.makedirs(os.path.join(self.folder, ".vagus"))
        self.write(".vagus/shop.yaml", PIPELINE)
        self.write("a.txt", "one\n")
        git(self.folder, "init", "--quiet", "--initial-branch=main", ".")
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--message", "first")

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text)

    def run(self, *arguments, **more):
        return subprocess.run(
            [BINARY, "run", "--local", ".vagus/shop.yaml", *arguments], cwd=self.folder, capture_output=True,
            text=True, timeout=120, **more)


def files_of(folder):
    """Every file beneath with its content: what a run must leave as it is."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[path] = file.read()
    return found


def passes_and_fails(shop):
    done = shop.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run shop:1 succeeded" in done.stdout, done.stdout
    done = shop.run("-p", "word=bad")
    assert done.returncode == 2, done
    assert "test/unit failed" in done.stdout and "exit code 1" in done.stderr, done.stdout + done.stderr
    assert "── test/unit" in done.stdout, "the end of the failed job's output is shown"
    assert shop.run("-p", "nothing=1").returncode == 1
    assert shop.run("nowhere").returncode == 1


def sees_what_is_not_committed(shop):
    shop.write("a.txt", "two\n")
    shop.write("new.txt", "new\n")
    shop.write(".gitignore", "ignored.txt\n")
    shop.write("ignored.txt", "x\n")
    before = files_of(shop.folder)
    with tempfile.TemporaryDirectory() as scratch:
        done = shop.run("build", "--keep", "-o", "json", env={**os.environ, "TMPDIR": scratch})
        assert done.returncode == 0, done.stderr
        run = json.loads(done.stdout)
        assert [job["stage"] for job in run["jobs"]] == ["build"], run["jobs"]
        data = re.search(r"kept: (\S+)", done.stderr).group(1)
        logs = "".join(content.decode(errors="replace") for path, content in files_of(data + "/logs").items())
        assert "two\n" in logs and "new.txt" in logs and "ignored" not in logs.replace(".gitignore", ""), logs
        done = shop.run("build", "--ref", "main", "--keep", env={**os.environ, "TMPDIR": scratch})
        data = re.search(r"kept: (\S+)", done.stderr).group(1)
        logs = "".join(content.decode(errors="replace") for path, content in files_of(data + "/logs").items())
        assert "one\n" in logs and "new.txt" not in logs, logs
    assert files_of(shop.folder) == before, "the work tree and its repository are as they were"


def leaves_nothing_behind(shop):
    with tempfile.TemporaryDirectory() as scratch:
        assert shop.run(env={**os.environ, "TMPDIR": scratch}).returncode == 0
        assert os.listdir(scratch) == [], os.listdir(scratch)


def is_cancelled_by_an_interrupt(shop):
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            [BINARY, "run", "--local", ".vagus/shop.yaml", "-p", "word=wait"], cwd=shop.folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "TMPDIR": scratch})
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "test/slow running" in line:
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 130, (process.returncode, lines, rest)
        assert "cancelled" in rest, rest
        assert os.listdir(scratch) == [], "nothing is left behind after an interrupt"


def runs_outside_of_git(folder):
    place = os.path.join(folder, "alone.yaml")
    with open(place, "w") as file:
        file.write("kind: Pipeline\nname: alone\nstages: [{ name: a, jobs: { b: { steps: [{ run: exit 0 }] } } }]\n")
    done = subprocess.run([BINARY, "run", place, "--local"], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


def opens_a_shell(folder):
    with Vagus() as vagus:
        place = os.path.join(folder, "fails.yaml")
        with open(place, "w") as file:
            file.write(
                "kind: Pipeline\nname: fails\nvariables: { COLOUR: blue }\nstages:\n  - name: test\n    jobs:\n"
                "      unit: { steps: [{ run: 'echo made > made.txt' }, { run: exit 3, variables: { SHADE: dark } }] }\n")
        vagus.run("apply", "-f", place)
        assert vagus.run("run", "fails", "--follow", check=False).returncode == 2
        data = ["--data", vagus.data]
        done = vagus.run("shell", "fails:latest", "test", *data, "--", "sh", "-c", "cat made.txt; echo $COLOUR $SHADE; exit 7", check=False)
        assert done.returncode == 7, done
        assert done.stdout == "made\nblue dark\n", done
        done = vagus.run("shell", "fails:1", "test/unit@1", "--step", "1", *data, "--", "printenv", "SHADE", check=False)
        assert done.returncode == 1 and done.stdout == "", "the first step did not see it"
        for wrong in (["test/other"], ["test", "--step", "9"], ["test@5"]):
            done = vagus.run("shell", "fails:1", *wrong, *data, "--", "true", check=False)
            assert done.returncode == 1 and "error:" in done.stderr, done
        # On a terminal of its own: a prompt, and what is typed is heard.
        script = shutil.which("script")
        if script:
            command = f"{BINARY} shell fails:latest test --data {vagus.data}"
            done = subprocess.run(
                [script, "-qec", command, "/dev/null"], input="tty && echo typed-$COLOUR\nexit 5\n",
                capture_output=True, text=True, timeout=60, env={**os.environ, "VAGUS_SERVER": vagus.url})
            assert done.returncode == 5, done
            assert "typed-blue" in done.stdout and "/dev/pts/" in done.stdout, done.stdout


def converts(folder):
    place = os.path.join(folder, "ci.yml")
    with open(place, "w") as file:
        file.write(
            "name: CI\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ github.sha }}\n"
            "      - uses: acme/thing@v1\n")
    done = subprocess.run([BINARY, "convert", place, "-o", os.path.join(folder, "out")], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert re.search(r"ci\.yml:8: lost: jobs\.a\.steps\.1\.uses", done.stderr), done.stderr
    made = os.path.join(folder, "out", "ci.yaml")
    assert "echo ${{ commit }}" in open(made).read()
    with Vagus() as vagus:
        assert "would be created" in vagus.run("apply", "-f", made, "--dry-run").stdout


def main():
    folder = tempfile.mkdtemp(prefix="vagus-local-test-")
    try:
        shop = Shop(folder)
        passes_and_fails(shop)
        leaves_nothing_behind(shop)
        is_cancelled_by_an_interrupt(shop)
        sees_what_is_not_committed(shop)
        runs_outside_of_git(folder)
        opens_a_shell(folder)
        converts(folder)
        print("local: passed")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
