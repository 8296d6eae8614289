"""What goes wrong outside: a full disk, a damaged database, a port in use, a wrong token, a broken manifest, a line without
end. Each gives one clear error with a hint and the exit code that is documented, and nothing is lost."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request

from vagus_process import BINARY, Vagus, wait_for

PIPELINE = """
kind: Pipeline
name: small
stages: [{ name: one, jobs: { a: { steps: [{ run: echo fine }] } } }]
"""


def ended(words, code, *texts, **options):
    """Runs a command that must end with `code` and say all of `texts` in one error with a hint."""
    done = subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=60, **options)
    said = done.stderr
    assert done.returncode == code, f"{words}: {done.returncode}, not {code}\n{done.stdout}{said}"
    assert said.count("error:") == 1 and "hint:" in said, said
    for text in texts:
        assert text in said, f"{text!r} is not in: {said}"
    print("  " + " / ".join(said.strip().splitlines()))


def full_disk():
    """The data folder is a disk of 700 MiB (a runner takes no job below 512) that fills up; when there is room again, all goes on."""
    disk = tempfile.mkdtemp(prefix="vagus-disk-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", disk], check=True)
    vagus = Vagus()
    vagus.data = os.path.join(disk, "data")
    try:
        vagus.start()
        vagus.run("apply", "-f", "-", input=PIPELINE)
        vagus.run("run", "small", "--follow")
        before = vagus.json("audit")["items"]
        filler = os.path.join(disk, "filler")
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], capture_output=True)
        # The write-ahead log has room that it took before: write until the disk itself says no.
        refused = None
        for number in range(400):
            refused = vagus.run("apply", "-f", "-", input=PIPELINE.replace("small", f"small-{number}"), check=False)
            if refused.returncode != 0:
                break
        assert refused.returncode == 1 and refused.stderr.count("error:") == 1, refused
        assert "is full" in refused.stderr and "hint:" in refused.stderr, refused.stderr
        print("  " + " / ".join(refused.stderr.strip().splitlines()))
        assert urllib.request.urlopen(vagus.url + "/-/ready", timeout=5).status == 200
        assert vagus.json("runs")["items"][0]["status"] == "succeeded", "reading goes on"
        os.unlink(filler)
        wait_for(lambda: vagus.run("apply", "-f", "-", input=PIPELINE.replace("small", "later"), check=False).returncode == 0,
                 30, "writing to go on")
        vagus.run("run", "later", "--follow")
        vagus.kill()
        vagus.start()
        after = vagus.json("audit", "--limit", "1000")["items"] if "--limit" in vagus.run("audit", "--help").stdout else None
        if after is not None:
            known = {event["sequence"] for event in after}
            assert all(event["sequence"] in known for event in before), "an event was lost"
        print("  " + vagus.run("audit", "verify").stdout.strip())
    finally:
        if vagus.process and vagus.process.poll() is None:
            vagus.stop()
        subprocess.run(["umount", disk], check=False)
        shutil.rmtree(disk, ignore_errors=True)
        shutil.rmtree(vagus.folder, ignore_errors=True)


def damaged_database():
    folder = tempfile.mkdtemp(prefix="vagus-damaged-")
    try:
        with open(os.path.join(folder, "vagus.db"), "wb") as file:
            file.write(b"this is no database" * 500)
        ended(["dev", "--data", folder, "--listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0"], 1, "damaged")
        assert open(os.path.join(folder, "vagus.db"), "rb").read(19) == b"this is no database", "it was overwritten"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def port_in_use():
    folder = tempfile.mkdtemp(prefix="vagus-port-")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended(["server", "--data", folder, "--listen", f"127.0.0.1:{port}"], 1, "listens on")
    shutil.rmtree(folder, ignore_errors=True)


def wrong_token():
    folder = tempfile.mkdtemp(prefix="vagus-token-")
    log = os.path.join(folder, "log")
    with open(log, "w") as out:
        server = subprocess.Popen([BINARY, "server", "--data", f"{folder}/data", "--listen", "127.0.0.1:0"], stdout=out,
                                  stderr=subprocess.STDOUT)
    try:
        url = wait_for(lambda: re.search(r"listens on (\S+)", open(log).read()), 20, "the server")[1]
        ended(["get", "pipelines", "--server", url, "--token", "vg_" + "0" * 64], 1, "token")
        ended(["get", "pipelines", "--server", url], 1, "token", env={**os.environ, "VAGUS_TOKEN": ""})
        try:
            urllib.request.urlopen(url + "/api/v1/runners", timeout=5)
            raise AssertionError("a request without a token was answered")
        except urllib.error.HTTPError as error:
            assert error.code == 401, error.code
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    ended(["get", "pipelines", "--server", "http://127.0.0.1:9", "--token", "x"], 69, "127.0.0.1:9")


def manifests_and_lines():
    with Vagus() as vagus:
        environment = {**os.environ, "VAGUS_SERVER": vagus.url}
        for text, words in [
            ("kind: Pipeline\nname: x\nstagse: []\n", ("standard input:3:1", "stages")),
            ("kind: Pipelin\nname: x\n", ("Pipeline",)),
            ("kind: Pipeline\nname: x\nstages: [{ name: a, needs: [b], jobs: { j: { steps: [{ run: x }] } } }]\n", ('no stage "b"',)),
            ("kind: [\n", ("standard input",)),
            ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)), ()),
        ]:
            ended(["apply", "-f", "-"], 1, *words, input=text, env=environment)
        assert vagus.json("get", "pipelines")["items"] == []
        vagus.run("apply", "-f", "-", input=PIPELINE.replace(
            "echo fine", "\"head -c 300000000 /dev/zero | tr '\\\\0' x; echo; echo behind\""))
        vagus.run("run", "small", "--follow")
        resident = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{vagus.process.pid}/status").read())[1]) >> 10
        assert vagus.run("logs", "small:1", "one").stdout.rstrip().endswith("behind"), "output behind the long line was lost"
        print(f"  a line of 300 MB: the run succeeded, the server never held more than {resident} MiB")
        assert resident < 400, resident


def main():
    for check in (damaged_database, port_in_use, wrong_token, manifests_and_lines, full_disk):
        print(check.__name__.replace("_", " ") + ":")
        check()
    print("test_bad_input: passed")


if __name__ == "__main__":
    main()
