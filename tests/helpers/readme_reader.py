"""Somebody who reads a document with a computer at hand, and types what it says as it says it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

PATIENCE_S = 240
PROFILE = Path(__file__).parents[2] / "profile"

SERVERS = {"slads-bluesky ioc --object": r"--port (\d+)", "start-re-manager": r"control-addr \S+:(\d+)",
           "bluesky-0MQ-proxy": r"--in-address \S+:(\d+)"}  # fmt: skip
"""Commands that go on until they are stopped: how they begin, and the port at which they answer then."""

WATCH = (
    "get_ipython().events.register('post_run_cell', lambda done: done.success or "
    "open('failed', 'a').write(done.info.raw_cell + repr(done.error_before_exec or done.error_in_exec) + chr(10)))"
)


def wait(condition, why, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s} s: {why()}"
        time.sleep(0.05)
    return result


def answers_at(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _belongs(table, command):
    return next((value for start, value in table.items() if command.startswith(start)), None)


class Typed:
    """A program that is typed to: a shell or an IPython, and all that it has said."""

    def __init__(self, command, environment, cwd):
        self.process = subprocess.Popen(
            command, env=environment, cwd=cwd, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.said = ""
        self._marks = 0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self):
        for line in self.process.stdout:
            self.said += line

    def type(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self, said_by):
        """What was said up to a mark, which ``said_by(mark)`` lets it say; with the number after the mark."""
        self._marks += 1
        mark = f"=== {self._marks} was typed ==="
        self.type(said_by(mark))
        pattern = re.compile(re.escape(mark) + r" (\d+)")
        wait(lambda: pattern.search(self.said) or self.process.poll() is not None, lambda: self.said)
        found = pattern.search(self.said)
        assert found, f"it ended: {self.said}"
        return self.said[: found.start()], int(found[1])

    def leave(self):
        """Close its input; return its exit code. What it has started ends with it, or is ended."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            started = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            started = []
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self._listener.join(30)  # whatever holds its output keeps this thread reading
            left = [process for process in started if process.is_running()]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
            self._listener.join(30)
            if not self._listener.is_alive():
                self.process.stdout.close()


class Reader:
    """Runs blocks one after the other in one folder.

    Parameters
    ----------
    home : Path
        Holds a copy of the profile, and a ``.venv`` that is the one of these tests.
    cache : Path
        Of trained models.
    before, meanwhile, after : mappings
        For the beginning of a command: what the world does before, while, and after it runs, ``f(reader)``; to what
        is done meanwhile, the shell that runs the command is given too.
    """

    def __init__(self, home, cache, before, meanwhile, after):
        self.home = home
        self.before, self.meanwhile, self.after = before, meanwhile, after
        self.section = self.document = None
        self.ipython = None
        self.servers = {}
        self.said = ""
        shutil.copytree(
            PROFILE, home / "profile", ignore=shutil.ignore_patterns("history*", "log", "pid", "security")
        )
        (home / ".venv").symlink_to(sys.prefix)
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("EPICS_", "OPHYD_", "SLADS_INSTRUMENT"))
        }
        self.environment = {
            **kept, "PATH": f"{home}/.venv/bin:{os.environ['PATH']}", "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(cache), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "COLUMNS": "120",
            "HOME": str(home), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip

    def read(self, block):
        """Do what a block says; return what was to be seen.

        A new section begins with nothing running, a new document with the profile as it is committed.
        """
        if block.document != self.document:
            self.leave()
            shutil.copy(PROFILE / "instrument.yml", self.home / "profile")
        elif block.section != self.section:
            self.leave()
        self.document, self.section = block.document, block.section
        run = getattr(self, f"_{block.language}")
        self.said = run(block)
        return self.said

    def leave(self):
        """Close what the section has opened."""
        if self.ipython is not None:
            self.ipython.type("exit")
            assert self.ipython.leave() == 0, self.ipython.said
            self.ipython = None
        for process in self.servers.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.servers = {}

    def _console(self, block):
        assert block.commands, "a console block without a prompt"
        shell = Typed(["bash", "--norc"], self.environment, self.home)
        try:
            for command in block.commands:
                self._command(shell, command)
            return shell.said
        finally:
            shell.leave()

    def _command(self, shell, command):
        self._act(self.before, command)
        server = _belongs(SERVERS, command)
        if "ipython" in command.split()[0]:
            self.ipython = self.open_ipython(command)
        elif server is not None:
            self._serve(command, int(re.search(server, command)[1]))
        else:
            with ThreadPoolExecutor(1) as pool:
                world = _belongs(self.meanwhile, command)
                done = pool.submit(world, self, shell) if world is not None else None
                said, code = shell.answer(lambda mark: f"{command}\necho '{mark}' $?")
                assert code == 0, f"$ {command}\n{said}"
                if done is not None:
                    done.result()
        self._act(self.after, command)

    def _act(self, acts, command):
        act = _belongs(acts, command)
        if act is not None:
            act(self)

    def _serve(self, command, port):
        assert not answers_at(port), f"port {port}, which `{command}` takes, is taken already"
        told = self.home / f"server-{port}.log"
        with told.open("w") as output:
            self.servers[port] = process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait(lambda: answers_at(port) or process.poll() is not None, told.read_text)
        assert process.poll() is None, told.read_text()

    def open_ipython(self, command):
        """Start an IPython that keeps a list of what went wrong in it."""
        opened = Typed(["bash", "-c", f"exec {command}"], self.environment, self.home)
        opened.type(WATCH)
        return opened

    def type_to(self, ipython, text):
        """Type lines to an IPython; nothing may go wrong."""
        for line in text.splitlines():
            ipython.type(line)
            if line.startswith("!"):
                ipython.type("assert _exit_code == 0")
        said, _ = ipython.answer(lambda mark: f"print('{mark}', 0)")
        failed = self.home / "failed"
        assert not failed.exists(), failed.read_text() + said
        assert "the session is not started" not in said, said
        return said

    def ask(self, expression):
        """Value of an expression in the section's IPython, by way of JSON."""
        self.type_to(self.ipython, f"import json; open('answer', 'w').write(json.dumps({expression}))")
        return json.loads((self.home / "answer").read_text())

    def _ipython(self, block):
        assert self.ipython is not None, "the section has not opened an IPython"
        return self.type_to(self.ipython, block.text)

    def _python(self, block):
        done = subprocess.run(
            [self.home / ".venv/bin/python", "-c", block.text], env=self.environment, cwd=self.home,
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _yaml(self, block):
        """Write the file that the block's first line names, or put its section into instrument.yml."""
        if named := re.fullmatch(r"# (\S+\.yml)", block.first):
            (self.home / named[1]).write_text(block.text)
            return block.text
        from slads_bluesky.instrument import read_settings

        path = self.home / "profile" / "instrument.yml"
        text = path.read_text()
        for section in re.findall(r"^(\w+):.*\n(?:[ #-].*\n)*", block.text, re.MULTILINE):
            shown = re.search(rf"^{section}:.*\n(?:[ -].*\n)*", block.text, re.MULTILINE)[0]
            text, n = re.subn(
                rf"^{section}:.*\n(?:[ -].*\n)*", lambda _, s=shown: s, text, flags=re.MULTILINE
            )
            assert n == 1, f"instrument.yml has no section {section}"
        path.write_text(text)
        read_settings(path)  # or a ConfigError that names the line
        return block.text
