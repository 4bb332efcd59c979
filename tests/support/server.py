"""The real program, started in a temporary directory: its log, its processes, its signals, and its certain end.

    with Server(tmp_path, {"workers": {"count": 2}}) as server:
        assert server.request("/").text == "hello"
        server.reload()

Settings that a test does not give are those of `DEFAULTS`: the application of `tests.support.application`, one worker,
one listener on a free port of 127.0.0.1, JSON logs. Leaving the block stops the server if it still runs, and whatever
happens no process of it survives: all of them share one session (setsid), whose members are killed one by one by pid. If
the tests themselves are killed, the kernel kills the master (PR_SET_PDEATHSIG), and the workers end when it is gone. It does so
at the end of the thread that has started the server, so that has to be one which stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support import application, processes, toml
from tests.support.address import Address, Response
from tests.support.processes import Process
from tests.support.waiting import eventually

Record = dict[str, Any]

DEFAULTS: dict[str, Any] = {
    "app": {"target": "application:app"},
    "listeners": [{"bind": "127.0.0.1:0"}],
    "workers": {"count": 1},
}
ROOT = Path(__file__).parents[2]
PYTHONPATH = f"{ROOT}:{ROOT / 'tests/support/startup'}"
SETPRIV = shutil.which("setpriv")
UNTIL_DEATH = [SETPRIV, "--pdeathsig", "KILL"] if SETPRIV else []
BOOT_TIMEOUT = 40.0
STOP_TIMEOUT = 40.0


class Log:
    """The lines that a process writes into a pipe; JSON lines become records.

    A thread collects them, so that the writer never waits for room; and every look at them takes first what is in the pipe. So
    what was written before an answer is there as soon as the test has the answer, however slow that thread is.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._lines: list[str] = []
        self._records: list[Record] = []
        self._begun = b""
        self._arrived = threading.Condition()
        self._stream = stream
        self._closed = False
        os.set_blocking(stream.fileno(), False)
        self._thread = threading.Thread(target=self._collect, name=name, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        poll = select.poll()
        poll.register(self._stream, select.POLLIN)
        while not self._closed:
            poll.poll()
            self._take()

    def _take(self) -> None:
        """Read what the pipe holds at this moment."""
        with self._arrived:
            try:
                while not self._closed:
                    self._add(os.read(self._stream.fileno(), 65536))
            except BlockingIOError:
                pass
            self._arrived.notify_all()

    def _add(self, data: bytes) -> None:
        """Take the lines that end in `data`, or all that is left where it is empty: the end of the stream."""
        *complete, self._begun = (self._begun + data).split(b"\n")
        if not data:
            complete, self._begun = [self._begun] if self._begun else [], b""
            self._closed = True
            self._stream.close()
        for raw in complete:
            line = raw.decode(errors="replace")
            self._lines.append(line)
            if line.startswith("{"):
                # One that is longer than PIPE_BUF may have been torn by that of another process (pipe(7)).
                with contextlib.suppress(ValueError):
                    self._records.append(json.loads(line))

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        self._take()
        return self._lines

    @property
    def records(self) -> list[Record]:
        """All records so far."""
        self._take()
        return self._records

    def matching(self, event: str, *, since: int = 0, **fields: object) -> list[Record]:
        """The records of an event behind the first `since` records, with these fields."""
        return [
            record
            for record in self.records[since:]
            if record.get("event") == event and all(record.get(name) == value for name, value in fields.items())
        ]

    def wait_for(
        self, event: str, *, since: int = 0, count: int = 1, timeout: float = 30.0, **fields: object
    ) -> Record:
        """The `count`-th record of an event behind the first `since` records; AssertionError if it does not come."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while len(found := self.matching(event, since=since, **fields)) < count:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    reason = "the log has ended" if self._closed else f"not within {timeout} s"
                    raise AssertionError(f"{reason}: log record {count} of {event!r} {fields or ''}")
                self._arrived.wait(left)
        return found[count - 1]

    def join(self, timeout: float) -> None:
        """Wait until every writer has closed its end."""
        self._thread.join(timeout)

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)


class Server:
    """One run of the program. The constructor prepares the directory; `start` (or `with`) starts it."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, str] | None = None,
        arguments: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        limits: str = "",
        python: str = sys.executable,
    ) -> None:
        """Prepare the directory.

        `files` are written into it, `arguments` replace `--config server.toml`, `limits` is shell text that runs before
        the program (ulimit).
        """
        self.directory = directory
        self._arguments = list(arguments) if arguments is not None else ["--config", "server.toml"]
        self._environment = dict(environment or {})
        self._pass_fds = pass_fds
        self._limits = limits
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(exist_ok=True)
        shutil.copy(application.__file__, directory / "application.py")
        for name, content in (files or {}).items():
            self.write(name, content)
        self.configure(settings or {})

    # Before and while it runs

    def write(self, name: str, content: str) -> None:
        """Write a file into the server's directory, later than what was there by seconds, as a deployment does.

        Python takes a .pyc file for current if size and whole second are those of the source.
        """
        path = self.directory / name
        made = path.with_name(f".{path.name}.new")
        made.write_text(content)
        if path.exists():
            after = path.stat().st_mtime + 2
            os.utime(made, (after, after))
            shutil.copymode(path, made)
        made.replace(path)  # in one step: a server that reads or watches it sees no half of it

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write server.toml: `settings` over DEFAULTS, section by section. A running server reads it on reload."""
        merged = dict(DEFAULTS)
        for section, value in settings.items():
            default = DEFAULTS.get(section)
            merged[section] = {**default, **value} if isinstance(default, dict) and isinstance(value, dict) else value
        self.write("server.toml", toml.dumps(merged))

    def deploy_version(self, version: str) -> None:
        """Change the code of the application: `/version` answers this from the next generation on."""
        source = Path(application.__file__).read_text()
        self.write("application.py", source.replace('VERSION = "1"', f'VERSION = "{version}"'))

    # Life

    def start(self) -> Self:
        """Start the program without waiting for anything."""
        command = [*UNTIL_DEATH, self._python, "-m", "appserver", *self._arguments]
        if self._limits:
            command = ["/bin/sh", "-c", f'{self._limits}; exec "$@"', "sh", *command]
        self._process = subprocess.Popen(
            command,
            cwd=self.directory,
            env=self._full_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self._pass_fds,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.output = Log(self._process.stdout, "stdout")
        self.log = Log(self._process.stderr, "stderr")
        return self

    def _full_environment(self) -> dict[str, str]:
        """The tests' environment without what would be read as settings; standard output is buffered, as it usually is."""
        settings = ("APPSERVER_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PYTHONUNBUFFERED")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
        # The control socket that every server has stays in the server's directory.
        return {**inherited, "PYTHONPATH": PYTHONPATH, "RUNTIME_DIRECTORY": str(self.directory), **self._environment}

    def __enter__(self) -> Self:
        self.start()
        try:
            self.log.wait_for("serving", timeout=BOOT_TIMEOUT)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server if it runs, print its log (pytest shows it with a failure), and leave no process behind."""
        if self._process is None:
            return
        try:
            if self._process.poll() is None:
                self.stop()
                # A worker that was just being forked ends by itself, when its channel does.
                eventually(lambda: not self.processes(), "a stopped server has left nothing behind")
        finally:
            self.kill_everything()
            print(f"--- exit code {self._process.returncode}, standard error:\n{self.log.text}")
            print(f"--- standard output:\n{self.output.text}")

    def kill_everything(self) -> None:
        """SIGKILL for every process of this server, without giving any of them a chance."""
        assert self._process is not None
        # Again and again, because a process that was just being forked is not in the first look.
        while members := self.processes():
            for member in members:
                _kill(member.pid)
        self._process.wait()
        for log in (self.output, self.log):
            log.join(5)

    def wait_for_exit(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait for the end of the master and return its exit code (negative: the signal)."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the master still runs after {timeout} s: {processes.descendants(self.pid)}"
            ) from None
        # What the master wrote last is complete when no process is left that could write.
        if not processes.in_session(self.pid):
            self.log.join(5)
            self.output.join(5)
        return code

    # Orders

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, number)

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """TERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_for_exit(timeout)

    def reload(self, timeout: float = 30.0) -> Record:
        """HUP, and the record that tells how the reload ended (`result`)."""
        mark = len(self.log.records)
        self.signal(signal.SIGHUP)
        return self.log.wait_for("reload finished", since=mark, timeout=timeout)

    # What there is to see

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def addresses(self) -> list[Address]:
        """The address of every listener, as the log says it."""
        return [Address.parse(record["address"]) for record in self.log.matching("listening")]

    @property
    def address(self) -> Address:
        """The address of the first listener."""
        return self.addresses[0]

    def request(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Response:
        """Send one request to the first listener on a connection of its own."""
        return self.address.request(method, target, headers=headers, body=body, timeout=timeout)

    def processes(self) -> list[Process]:
        """Every running process of this server, orphans included."""
        return processes.in_session(self.pid)

    def workers(self) -> list[Process]:
        """The running workers, by their title."""
        return sorted((process for process in self.processes() if process.worker), key=lambda found: found.worker or ())

    def zygotes(self) -> list[Process]:
        """The running zygotes, by their title; what they are just forking has that too, but does not lead their group."""
        return [process for process in self.processes() if process.zygote is not None and process.group == process.pid]

    def wait_for_workers(self, count: int, *, timeout: float = 30.0, without: Sequence[int] = ()) -> list[Process]:
        """Wait until exactly `count` workers run, none of which is one of the pids in `without`."""

        def look() -> list[Process]:
            workers = self.workers()
            pids = {worker.pid for worker in workers}
            return workers if len(workers) == count and not pids & set(without) else []

        return eventually(look, f"{count} workers, none of {list(without)}", timeout=timeout)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
