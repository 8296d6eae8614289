"""A secret in every form it is commonly written in, from every place where a step can put it, is nowhere afterwards: not in
any file of the server and the runner, not in any answer of the API, not on any page of the run, not on the terminal."""

import base64
import html
import json
import os
import re
import shlex
import urllib.parse
import urllib.request

from vagus_process import Vagus

CANARY = 'c4n4ry/It\'s "deep" <in> the & mine+ü\\42'
LINES = "-----BEGIN CANARY-----\nfirstL1ne/of+Canary==\n  secondL1ne-of.Canary\n-----END CANARY-----\n"
LEARNED = "l34rned-while-running"

# What a step does with them; it says each form alone, within a line, and over several writes.
SCRIPT = r'''
import base64, html, json, os, shlex, sys, time, urllib.parse
from xml.sax.saxutils import escape, quoteattr

def forms(text):
    raw = text.encode()
    for before in (b"", b"x", b"xy"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            told = encode(before + raw + b"z").decode()
            yield told
            yield told.rstrip("=")
    yield base64.encodebytes(raw * 1).decode()
    yield from (urllib.parse.quote(text), urllib.parse.quote(text, safe=""), urllib.parse.quote_plus(text))
    yield urllib.parse.quote(text, safe="").lower() if text.islower() else urllib.parse.quote(text, safe="")
    yield from (json.dumps(text), json.dumps(text, ensure_ascii=False), json.dumps(text).replace("/", "\\/"))
    yield json.dumps(json.dumps(text))
    yield "".join("\\u%04x" % ord(c) for c in text)
    yield from (escape(text), quoteattr(text), html.escape(text), html.escape(text, quote=False))
    yield from (shlex.quote(text), raw.hex(), raw.hex().upper(), raw.hex(":"), raw.hex(" "), repr(raw))

def say(text):
    os.write(1, text.encode())

for secret in (os.environ["CANARY"], os.environ["LINES"]):
    say(secret + "\n")
    say(f"in the middle of {secret} a line\n")
    say(secret + secret + "\n")
    for form in forms(secret):
        say(form + "\n")
        say(f"<{form}>\n")
    for line in secret.splitlines():
        say(line.strip() + "\n")
    for byte in secret.encode():
        os.write(1, bytes([byte]))
    os.write(1, b"\n")
    middle = len(secret) // 2
    say(secret[:middle])
    time.sleep(0.3)
    say(secret[middle:] + "\n")
say("::add-mask::" + os.environ["LEARNED_HALF"] + "while-running\n")
say("and now " + os.environ["LEARNED_HALF"] + "while-running\n")
'''

PIPELINE = {
    "kind": "Pipeline",
    "name": "canary",
    "stages": [{"name": "s", "jobs": {"j": {
        "secrets": ["CANARY", "LINES"],
        "variables": {"CANARY": "${{ secrets.CANARY }}", "LINES": "${{ secrets.LINES }}"},
        "steps": [
            {"id": "a", "name": "say it", "run": "\n".join([
                "LEARNED_HALF=l34rned- python3 - <<'PYTHON'" + SCRIPT + "PYTHON",
                'echo "fine=1" >> "$VAGUS_OUTPUT"',
                'printf "leak=<%s>\\n" "$CANARY" >> "$VAGUS_OUTPUT"',
                'printf "lines<<END\\n%s\\nEND\\n" "$LINES" >> "$VAGUS_OUTPUT"',
                'printf "# Summary of %s\\n" "$CANARY" >> "$VAGUS_SUMMARY"',
                'printf "LATER=%s\\n" "$CANARY" >> "$VAGUS_ENV"',
                'printf "::error file=%s,line=3,title=%s::%s\\n" "$CANARY" "$CANARY" "$CANARY"',
                'printf "::warning::%s\\n" "$LINES"',
                'printf "::group::%s\\n::endgroup::\\n" "$CANARY"',
                'echo harmless > "kept-$(printf %s "$CANARY" | tr / _).out"; cp kept-*.out plain.out',
            ])},
            {"name": "use it", "run": 'test -n "${{ steps.a.outputs.fine }}"; test "$LATER" = "$CANARY"; set -x; : "$CANARY"'},
            {"name": "fail with it", "run": "\n".join([
                "python3 - <<'PYTHON'",
                "import os",
                "from xml.sax.saxutils import quoteattr, escape",
                "s = os.environ['CANARY']",
                "open('r.xml', 'w').write('<testsuite name=%s><testcase classname=%s name=%s file=%s><failure message=%s>%s'"
                "'</failure></testcase></testsuite>' % (*[quoteattr(s)] * 5, escape(s)))",
                "PYTHON",
                'echo "boom: $CANARY" >&2; exit 3',
            ])},
        ],
        "outputs": {"fine": "${{ steps.a.outputs.fine }}", "leak": "${{ steps.a.outputs.leak }}"},
        "artifacts": [{"name": "plain", "paths": ["plain.out"]}],
        "reports": {"junit": "r.xml", "flaky": {"rerun": 1, "quarantine": "auto"}},
    }}}],
}


def needles():
    """Bytes that must be nowhere: the secrets and their forms, whatever stands beside them."""
    found = {}

    def add(name, text):
        data = text if isinstance(text, bytes) else text.encode()
        if len(data) >= 6:
            found[data] = name

    for name, secret in [("canary", CANARY), ("learned", LEARNED)] + [
            (f"line {n}", line.strip()) for n, line in enumerate(LINES.splitlines())]:
        raw = secret.encode()
        add(name, secret)
        add(f"{name}, reversed halves", secret[:len(secret) * 2 // 3])
        for offset in range(3):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                text = encode(b"\0" * offset + raw)
                first = (8 * offset + 5) // 6
                add(f"{name} in base64 at offset {offset}", text[first:8 * (offset + len(raw)) // 6])
        add(f"{name} in percent", urllib.parse.quote(secret, safe=""))
        add(f"{name} in percent, lower", re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(secret, safe="")))
        add(f"{name} in a form", urllib.parse.quote_plus(secret))
        add(f"{name} in JSON", json.dumps(secret)[1:-1])
        add(f"{name} in JSON, twice", json.dumps(json.dumps(secret))[3:-3])
        add(f"{name} in JSON, all unicode", "".join("\\u%04x" % ord(c) for c in secret))
        add(f"{name} in HTML", html.escape(secret))
        add(f"{name} in a shell", shlex.quote(secret)[1:-1])
        add(f"{name} in hex", raw.hex())
        add(f"{name} in hex, upper", raw.hex().upper())
    return found


def main():
    known = needles()
    looked = {"files": 0, "answers": 0}

    def look(where, data):
        data = data if isinstance(data, bytes) else data.encode()
        for needle, name in known.items():
            at = data.find(needle)
            assert at < 0, f"{where} holds {name} at {at}: …{data[max(0, at - 80):at + len(needle) + 20]!r}"

    with Vagus() as vagus:
        for name, value in [("CANARY", CANARY), ("LINES", LINES)]:
            vagus.run("secret", "set", name, "--from-file", "-", input=value)
        vagus.run("apply", "-f", "-", input=json.dumps(PIPELINE))
        started = vagus.run("run", "canary", "--follow", check=False)
        assert started.returncode == 2, (started.returncode, started.stdout, started.stderr)
        run = vagus.json("runs", "canary:1")
        assert run["status"] == "failed", run

        # It really was said: the log shows masks where it stood, and what is no secret as it is.
        log = vagus.run("logs", "canary:1", "s/j").stdout
        assert log.count("***") > 100, log
        assert "in the middle of *** a line" in log and "boom: ***" in log and "and now ***" in log, log
        step = run["jobs"][0]["steps"]
        assert step[0]["outputs"] == {"fine": "1"}, step[0]
        assert [one["status"] for one in step] == ["succeeded", "succeeded", "failed"], step

        for arguments in [
                ["runs", "canary:1"], ["runs"], ["logs", "canary:1"], ["logs", "canary:1", "--grep", "."],
                ["logs", "canary:1", "--fold"], ["artifacts", "canary:1"], ["tests", "canary"], ["audit", "list"],
                ["get", "pipelines"], ["secret", "list"]]:
            for form in ([], ["-o", "json"]):
                done = vagus.run(*arguments, *form, check=False)
                look("vagus " + " ".join(arguments + form), done.stdout + done.stderr)
                looked["answers"] += 1

        base = f"/api/v1/projects/default/runs/{run['id']}"
        pages = [
            base, base + "/artifacts", base + "/log?job=s", base + "/log?job=s&tail=50",
            base + "/log/search?job=s&pattern=.&regex=true&limit=1000", "/api/v1/projects/default/runs",
            "/api/v1/event-log?limit=1000", "/api/v1/projects/default/pipelines/canary/tests",
            "/api/v1/projects/default/resources/pipelines/canary", "/api/v1/projects/default/secrets",
        ] + [f"/runs/{run['id']}?view={view}" for view in ["log", "timeline", "artifacts", "tests", "quality", "metrics"]]
        pages += [f"/runs/{run['id']}/{part}?job=s%2Fj" for part in ["log", "raw"]]
        pages += ["/", "/runs", "/pipelines", "/pipelines/canary", "/events"]
        tests = vagus.json("tests", "canary")["items"]
        for test in tests:
            name = urllib.parse.quote(test["suite"] + "." + test["name"])
            pages.append(f"/api/v1/projects/default/pipelines/canary/tests/history?test={name}")
        for page in pages:
            try:
                with urllib.request.urlopen(vagus.url + page, timeout=30) as answer:
                    body = answer.read()
            except urllib.error.HTTPError as error:
                assert error.code == 404, (page, error.code)
                body = error.read()
            look(page, body)
            looked["answers"] += 1

        vagus.stop()
        for folder, _, names in os.walk(vagus.folder):
            for name in names:
                path = os.path.join(folder, name)
                if "/workspace/" not in path:
                    look("the name of " + path, path)
                # What a step writes into its workspace is its own, as the contents of its artifacts are; a failed job's is kept.
                if not os.path.islink(path) and "/workspace/" not in path:
                    look(path, open(path, "rb").read())
                    looked["files"] += 1
    assert looked["files"] > 5 and looked["answers"] > 30, looked
    print(f"test_masking: passed ({len(known)} forms, {looked['files']} files, {looked['answers']} answers)")


if __name__ == "__main__":
    main()
