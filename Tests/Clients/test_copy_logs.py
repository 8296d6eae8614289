"""What copies of a service print is found among the log lines: each line once, over rotation, kills of the server and of copies."""

import os
import sys
import time

from vagus_process import Vagus, wait_for

MANIFEST = """
kind: Service
name: talker
workload:
  command: ["%s", "-u", "%s", "serve"]
  replicas: 2
  variables: { GO: "%s" }
health: { tcp: true, interval: 300ms, deadline: 60s, stop_grace: 2s }
"""
LINES = 4000


def serve():
    """Listens, and prints numbered lines in three formats for as long as it takes."""
    import socket

    listener = socket.socket()
    listener.bind(("127.0.0.1", int(os.environ["PORT"])))
    listener.listen()
    print("ready", flush=True)
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.05)
    for number in range(LINES):
        print(['{"level":"error","n":%d}', "level=warn n=%d", "plain %d"][number % 3] % number, flush=True)
        time.sleep(0.001)
    print("all said", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.close()


def search(vagus, query, limit=5000):
    return vagus.json("logs", "search", query, "--limit", str(limit), "--since", "1h")["lines"]


def main():
    with Vagus() as vagus:
        go = vagus.folder + "/go"
        vagus.run("apply", "-f", "-", input=MANIFEST % (sys.executable, os.path.abspath(__file__), go))
        wait_for(lambda: vagus.json("status", "talker")["phase"] == "healthy", 60, "the copies")
        wait_for(lambda: len(search(vagus, '{service="talker"} |= "ready"')) == 2, 20, "their first lines")
        open(go, "w").close()
        for _ in range(3):
            time.sleep(1)
            vagus.kill()
            vagus.start()
        wait_for(lambda: len(search(vagus, '{service="talker"} |= "all said"')) == 2, 60, "their last lines")
        copies = {line["labels"]["copy"] for line in search(vagus, '{service="talker"} |= "ready"')}
        assert len(copies) == 2, copies
        for copy in copies:
            found = search(vagus, '{service="talker", revision="1", copy="%s"}' % copy)
            numbers = sorted(int("".join(c for c in line["line"] if c.isdigit())) for line in found if any(c.isdigit() for c in line["line"]))
            twice, lost = len(numbers) - len(set(numbers)), len(set(range(LINES)) - set(numbers))
            assert numbers == list(range(LINES)), f"copy {copy}: {twice} twice, {lost} lost"
        for level in ("error", "warn"):
            told = search(vagus, '{service="talker"} | detected_level=~"%s.*"' % level)
            assert abs(len(told) - 2 * LINES / 3) <= 2, (level, len(told))
        # What a copy says last before it is killed is found as well.
        assert "talker" in vagus.run("get", "services").stdout
    print("test_copy_logs: passed")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
