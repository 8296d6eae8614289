"""Stock git against repositories that vagus hosts and follows: push, clone, options, protection, pull requests, webhooks."""

import glob
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

from vagus_process import BINARY, Vagus, git, wait_for

PIPELINE = """
kind: Pipeline
name: check
triggers:
  - push: { branches: [main] }
  - pull_request: { branches: [main] }
stages:
  - name: test
    type: test
    jobs: { unit: { steps: [{ checkout: true }, { run: "test -f file.txt && cat file.txt" }] } }
"""
# How much more memory the server may hold after a push of 50 MB and three clones of it: far less than one of them.
MEMORY = 20 << 20


def out(folder, *arguments, check=True, env=None):
    done = subprocess.run(
        ["git", "-c", "user.name=Ana", "-c", "user.email=ana@example.com", *arguments], cwd=folder,
        capture_output=True, text=True, timeout=120, env={**os.environ, "GIT_TERMINAL_PROMPT": "0", **(env or {})})
    if check and done.returncode != 0:
        raise AssertionError(f"git {arguments}: {done.stdout}{done.stderr}")
    return done


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb" if isinstance(content, bytes) else "w") as file:
        file.write(content)


def peak(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def post(url, body, headers):
    """Status and answer of a request; an error status is an answer too."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def hosted(vagus):
    """A push over HTTP of 50 MB, then everything that git does with a repository."""
    vagus.run("apply", "-f", "-", input="kind: Repository\nname: shop\nprotected: [main]\n")
    url = wait_for(
        lambda: (vagus.json("get", "repository", "shop").get("status") or {}).get("push_url"), 10, "the repository")
    assert url == vagus.url + "/git/default/shop.git", url
    work = os.path.join(vagus.folder, "work")
    write(work, ".vagus/pipeline.yaml", PIPELINE)
    write(work, "file.txt", "hello from the commit\n")
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "first")
    git(work, "remote", "add", "origin", url)

    out(work, "push", "-q", "origin", "main")
    pushed = time.monotonic()
    wait_for(lambda: vagus.json("runs")["items"], 10, "the first run")
    print(f"a run is there {time.monotonic() - pushed:.2f} s after the push")
    vagus.run("runs", "check:1", "--follow")
    assert "hello from the commit" in vagus.run("logs", "check:1", "test").stdout
    statuses = vagus.json("statuses", "shop")["items"]
    assert [status["state"] for status in statuses] == ["success"], statuses

    before = peak(vagus.process.pid)
    git(work, "checkout", "-q", "-b", "big")
    write(work, "big.bin", os.urandom(50 << 20))
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "50 MB")
    began = time.monotonic()
    out(work, "push", "-q", "origin", "big")
    took = time.monotonic() - began
    clone = os.path.join(vagus.folder, "clone")
    for folder in clone + "1", clone + "2", clone:
        out(vagus.folder, "clone", "-q", "-b", "big", url, folder)
        assert os.path.getsize(os.path.join(folder, "big.bin")) == 50 << 20
    grown = peak(vagus.process.pid) - before
    print(f"50 MB pushed in {took:.1f} s, cloned three times; the server grew by {grown >> 20} MiB")
    assert grown < MEMORY, grown

    shallow = os.path.join(vagus.folder, "shallow")
    trace = out(vagus.folder, "clone", "-q", "--depth", "1", vagus.url + "/git/shop", shallow,
                env={"GIT_TRACE_PACKET": "1"}).stderr
    assert "version 2" in trace, "protocol version 2 was not spoken"
    assert out(shallow, "rev-list", "--count", "HEAD").stdout.strip() == "1"

    # Many commits on both sides: what the client has is then sent gzipped.
    git(work, "checkout", "-q", "main")
    for number in range(80):
        git(work, "commit", "-q", "--allow-empty", "-m", f"n{number}")
    out(work, "push", "-q", "-o", "ci.skip", "origin", "main")
    for number in range(80):
        git(clone, "commit", "-q", "--allow-empty", "-m", f"own {number}")
    out(clone, "fetch", "-q", "origin", "main")
    assert len(vagus.json("runs")["items"]) == 1, "ci.skip was not heeded"

    # Eight clones push at the same time, each its own branch.
    pushes = []
    for number in range(8):
        folder = os.path.join(vagus.folder, f"c{number}")
        out(vagus.folder, "clone", "-q", "--depth", "1", url, folder)
        git(folder, "checkout", "-q", "-b", f"b{number}")
        git(folder, "commit", "-q", "--allow-empty", "-m", f"branch {number}")
        pushes.append(folder)
    running = [subprocess.Popen(["git", "push", "-q", "origin", "HEAD"], cwd=folder) for folder in pushes]
    assert [process.wait(120) for process in running] == [0] * 8
    names = out(work, "ls-remote", "--heads", "origin").stdout
    assert all(f"refs/heads/b{number}\n" in names for number in range(8)), names

    refused = out(work, "push", "origin", ":main", check=False)
    assert refused.returncode != 0 and "remote: vagus: branch \"main\" is protected: it cannot be deleted" in refused.stderr
    git(work, "commit", "-q", "--amend", "--allow-empty", "-m", "rewritten")
    refused = out(work, "push", "--force", "origin", "main", check=False)
    assert refused.returncode != 0 and "its history cannot be rewritten" in refused.stderr, refused.stderr
    git(work, "reset", "-q", "--hard", "origin/main")
    return work, url


def pull_requests(vagus, work):
    git(work, "checkout", "-q", "-b", "feature")
    write(work, "file.txt", "better\n")
    git(work, "commit", "-q", "-a", "-m", "Better words")
    out(work, "push", "-q", "-o", "pull_request.create", "-o", "pull_request.target=main", "origin", "feature")
    pull = wait_for(lambda: vagus.json("pulls", "list", "shop")["items"], 10, "the pull request")[0]
    assert (pull["number"], pull["title"], pull["state"]) == (1, "Better words", "open"), pull
    run = wait_for(lambda: [r for r in vagus.json("runs")["items"] if r["trigger"]["type"] == "pull_request"], 10, "its run")[0]
    assert run["trigger"]["is_trusted"] is False and run["trigger"]["ref"] == "refs/pull/1/head", run["trigger"]
    assert run["trigger"]["event"]["pull_request"]["base"] == "main"
    vagus.run("runs", run["id"], "--follow")
    assert "better" in vagus.run("logs", run["id"], "test").stdout
    assert out(work, "ls-remote", "origin", "refs/pull/1/head").stdout.startswith(run["commit"])
    vagus.run("pulls", "merge", "shop", "1")
    merged = vagus.json("pulls", "list", "shop", "--state", "merged")["items"][0]
    out(work, "fetch", "-q", "origin")
    assert out(work, "rev-parse", "origin/main").stdout.strip() == merged["merged_commit"]
    assert len(out(work, "rev-list", "--parents", "-1", "origin/main").stdout.split()) == 3
    wait_for(lambda: [r for r in vagus.json("runs")["items"] if r["commit"] == merged["merged_commit"]], 10, "the run of main")


class Forge(http.server.BaseHTTPRequestHandler):
    """A Gitea that serves git by the dumb protocol, and writes down what it is asked."""

    root, seen, failures = "", [], 0

    def do_GET(self):
        path = os.path.realpath(os.path.join(self.root, self.path.split("?")[0].lstrip("/")))
        Forge.seen.append(("GET", self.path, dict(self.headers), b""))
        if not path.startswith(os.path.realpath(self.root)) or not os.path.isfile(path):
            return self.answer(404, b"")
        with open(path, "rb") as file:
            self.answer(200, file.read())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Forge.seen.append(("POST", self.path, dict(self.headers), body))
        if Forge.failures > 0:
            Forge.failures -= 1
            return self.answer(502, b"{}")
        self.answer(201, b"{}")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def followed(vagus):
    """A repository of a forge: polled, told by webhooks, and told back."""
    Forge.root = os.path.join(vagus.folder, "forge")
    bare = os.path.join(Forge.root, "o", "r.git")
    os.makedirs(bare)
    git(bare, "init", "-q", "--bare", "-b", "main")
    work = os.path.join(vagus.folder, "theirs")
    write(work, ".vagus/pipeline.yaml", PIPELINE.replace("name: check", "name: theirs"))
    write(work, "file.txt", "theirs\n")
    git(work, "init", "-q", "-b", "main")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"

    def push(message):
        git(work, "add", "-A")
        git(work, "commit", "-q", "--allow-empty", "-m", message)
        git(work, "push", "-q", bare, "HEAD:main")
        git(bare, "update-server-info")
        return out(work, "rev-parse", "HEAD").stdout.strip()

    first = push("first")
    Forge.failures = 1
    vagus.run("apply", "-f", "-", input=f"""
kind: Repository
name: theirs
remote: {{ url: "{address}/o/r.git", forge: gitea, webhook_secret: HOOK, token: FORGE, poll: 1h }}
""")
    wait_for(lambda: told(first, "success"), 40, "the forge to be told of success")
    path, headers, body = told(first, "success")
    assert path == f"/api/v1/repos/o/r/statuses/{first}" and headers["Authorization"] == "token f0rge", (path, headers)
    assert body["context"] == "vagus/theirs" and body["target_url"].startswith(vagus.url), body
    fetched = [headers for verb, path, headers, _ in Forge.seen if verb == "GET"]
    assert all("authorization" in {name.lower() for name in headers} for headers in fetched), "git came without the token"

    second = push("second")
    body = json.dumps({"ref": "refs/heads/main", "after": second}).encode()
    sign = lambda secret: hmac.new(secret, body, hashlib.sha256).hexdigest()
    hook = vagus.url + "/hooks/default/theirs"
    headers = {"X-Gitea-Event": "push", "X-Gitea-Delivery": "d-1"}
    status, answer = post(hook, body, {**headers, "X-Gitea-Signature": sign(b"guess")})
    assert status == 403 and answer["code"] == "webhook.refused", (status, answer)
    events = vagus.json("audit", "--name", "webhook.refused")["items"]
    assert len(events) == 1 and events[0]["subject"]["name"] == "theirs", events
    status, answer = post(hook, body, {**headers, "X-Gitea-Signature": sign(b"s3cret")})
    assert (status, answer["outcome"]) == (202, "accepted"), (status, answer)
    wait_for(lambda: told(second, "success"), 40, "the run of the second commit")
    status, answer = post(hook, body, {**headers, "X-Gitea-Signature": sign(b"s3cret")})
    assert (status, answer["outcome"]) == (200, "dropped"), (status, answer)
    status, answer = post(hook, b"x" * ((25 << 20) + 1), headers)
    assert status == 413, (status, answer)
    runs = [run for run in vagus.json("runs")["items"] if run["pipeline"] == "theirs"]
    assert len(runs) == 2, runs
    server.shutdown()


def told(commit, state):
    """What the forge was told of a commit in that state, if it was."""
    for verb, path, headers, body in Forge.seen:
        if verb == "POST" and commit in path and json.loads(body)["state"] == state:
            return path, headers, json.loads(body)
    return None


def guarded(folder):
    """A server with tokens: who may fetch, who may push, and a runner that has nothing but its job's token."""
    data = os.path.join(folder, "guarded")
    log = os.path.join(folder, "guarded.log")
    servers = []
    with open(log, "w") as file:
        servers.append(subprocess.Popen(
            [BINARY, "server", "--data", data, "--listen", "127.0.0.1:0"], stdout=file, stderr=subprocess.STDOUT))
    try:
        import re
        found = lambda pattern: (lambda match: match and match.group(1))(re.search(pattern, open(log).read()))
        url = wait_for(lambda: found(r"listens on (\S+)"), 20, "the server")
        first = wait_for(lambda: found(r"(vg_[0-9a-f]{64})"), 5, "the first token")

        def run(token, *arguments, input=None):
            done = subprocess.run(
                [BINARY, *arguments], input=input, capture_output=True, text=True, timeout=60,
                env={**os.environ, "VAGUS_SERVER": url, "VAGUS_TOKEN": token})
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout.strip()

        admin = run(first, "token", "redeem", "admin")
        tokens = {name: run(admin, "token", "create", name, *options) for name, options in {
            "reader": ["--permission", "read"], "writer": ["--permission", "write"],
            "other": ["--permission", "write", "--only", "elsewhere"], "agent": ["--permission", "agent"]}.items()}
        run(admin, "apply", "-f", "-", input="kind: Repository\nname: shop\n")
        push_url = lambda: json.loads(run(admin, "get", "repository", "shop", "-o", "json")).get("status", {}).get("push_url")
        place = wait_for(push_url, 10, "the repository")
        as_who = lambda token: place.replace("http://", f"http://anyone:{token}@")
        work = os.path.join(folder, "guarded-work")
        write(work, ".vagus/pipeline.yaml", PIPELINE)
        write(work, "file.txt", "with a token\n")
        git(work, "init", "-q", "-b", "main")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "first")
        for token, words in [("reader", "needs the permission"), ("other", "may not touch project"), (None, "could not read")]:
            target = place if token is None else as_who(tokens[token])
            refused = out(work, "push", target, "main", check=False)
            assert refused.returncode != 0, token
            assert words in refused.stderr or "403" in refused.stderr or "terminal prompts disabled" in refused.stderr, refused.stderr
        out(work, "push", "-q", as_who(tokens["writer"]), "main")
        out(folder, "clone", "-q", as_who(tokens["reader"]), os.path.join(folder, "guarded-clone"))
        with open(log, "a") as file:
            servers.append(subprocess.Popen(
                [BINARY, "runner", "--server", url, "--token", tokens["agent"], "--data", os.path.join(folder, "runner"),
                 "--name", "far"], stdout=file, stderr=subprocess.STDOUT))
        run(admin, "runs", "check:1", "--follow")
        assert "with a token" in run(admin, "logs", "check:1", "test")
        names = glob.glob(os.path.join(folder, "runner", "**", "*"), recursive=True)
        leaks = [name for name in names if os.path.isfile(name) and b"vgj_" in open(name, "rb").read()]
        assert not leaks, f"the job's token lies in {leaks}"
    except BaseException:
        print(open(log).read()[-4000:])
        raise
    finally:
        for server in reversed(servers):
            server.terminate()
            server.wait(20)


def main():
    os.environ["VAGUS_SECRET_HOOK"] = "s3cret"
    os.environ["VAGUS_SECRET_FORGE"] = "f0rge"
    with Vagus() as vagus:
        work, _ = hosted(vagus)
        pull_requests(vagus, work)
        followed(vagus)
        guarded(vagus.folder)
        print(vagus.run("audit", "verify").stdout.strip())
    print("test_git: passed")


if __name__ == "__main__":
    main()
