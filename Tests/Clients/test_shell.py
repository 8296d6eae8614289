"""`vagus shell` into a workspace on a runner that is a process and a folder of its own: by way of the server alone."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import time
from vagus_process import BINARY, Vagus, wait_for

PIPELINE = """
kind: Pipeline
name: far
variables: { COLOUR: blue }
stages:
  - name: test
    jobs:
      unit:
        runs_on: [far]
        steps: [{ run: "echo made > made.txt" }, { run: exit 3, variables: { SHADE: dark } }]
"""


class Terminal:
    """The command with a terminal in front of it, as a person has."""

    def __init__(self, arguments, environment):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, environment)
        self.text = ""

    def type(self, text):
        os.write(self.end, text.encode())

    def read(self, wanted, seconds=20):
        end = time.monotonic() + seconds
        while wanted not in self.text:
            assert time.monotonic() < end, f"waited for {wanted!r}: {self.text!r}"
            if select.select([self.end], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.end, 4096).decode(errors="replace")
                except OSError:
                    break
        assert wanted in self.text, f"no {wanted!r}: {self.text!r}"


def main():
    with Vagus() as vagus, tempfile.TemporaryDirectory() as folder:
        runner = subprocess.Popen(
            [BINARY, "runner", "--server", vagus.url, "--data", folder, "--name", "far", "--label", "far"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            place = os.path.join(vagus.folder, "far.yaml")
            with open(place, "w") as file:
                file.write(PIPELINE)
            vagus.run("apply", "-f", place)
            assert vagus.run("run", "far", "--follow", check=False).returncode == 2

            done = vagus.run(
                "shell", "far:latest", "test", "--remote", "--", "sh", "-c", "cat made.txt; echo $COLOUR $SHADE; pwd; exit 7", check=False)
            assert done.returncode == 7, done
            words = done.stdout.replace("\r", "")
            assert words.startswith("made\nblue dark\n") and folder in words, done

            # A megabyte comes whole, in order, and with its end.
            done = vagus.run("shell", "far:latest", "test", "--remote", "--", "seq", "150000", check=False)
            assert done.returncode == 0, done
            assert done.stdout.replace("\r", "") == "".join(f"{n}\n" for n in range(1, 150001))

            # Somebody sits there: size, keys, the interrupt, the exit code.
            terminal = Terminal(
                [BINARY, "shell", "far:latest", "test/unit", "--remote"],
                {**os.environ, "VAGUS_SERVER": vagus.url, "TERM": "xterm"})
            terminal.read("on runner far")
            terminal.type("tty; echo typed-$COLOUR\n")
            terminal.read("typed-blue")
            terminal.read("/dev/pts/")
            terminal.type("sleep 600\n")
            time.sleep(0.5)
            terminal.type("\x03")
            terminal.type("echo awake-$((40 + 2)); stty size\n")
            terminal.read("awake-42")
            fcntl.ioctl(terminal.end, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
            wait_for(lambda: (terminal.type("stty size\n"), time.sleep(0.3), drain(terminal), "33 111" in terminal.text)[-1],
                     20, "the size to come through")
            terminal.type("exit 5\n")
            code = finish(terminal)
            assert code == 5, (code, terminal.text)

            events = [e["name"] for e in vagus.json("audit", "list")["items"]]
            assert events.count("shell.opened") == 3 and events.count("shell.closed") == 3, events

            # Without the runner it is said so, and nothing hangs for ever: the person leaves.
            runner.kill()
            runner.wait()
            lonely = subprocess.Popen(
                [BINARY, "shell", "far:latest", "test", "--remote", "--", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env={**os.environ, "VAGUS_SERVER": vagus.url})
            time.sleep(1)
            assert lonely.poll() is None, "it waits for the runner"
            lonely.terminate()
            lonely.wait(10)
        finally:
            if runner.poll() is None:
                runner.kill()
                runner.wait()
    print("shell: passed")


def drain(terminal):
    while select.select([terminal.end], [], [], 0)[0]:
        try:
            terminal.text += os.read(terminal.end, 4096).decode(errors="replace")
        except OSError:
            return


def finish(terminal):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        drain(terminal)
        pid, status = os.waitpid(terminal.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    raise AssertionError(f"it does not end: {terminal.text!r}")


main()
