"""Notifications for the service manager: the protocol of sd_notify(3), on a datagram socket that it names in the environment.

`Notifier` sends; `Announcer` watches the supervisor and decides what is to be said. Without NOTIFY_SOCKET neither does
anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Mapping

from appserver.master.reload_outcomes import ReloadOutcomes
from appserver.supervision.states import WorkerState
from appserver.supervision.supervisor import Supervisor
from appserver.telemetry.scoreboard import Scoreboard

# How much longer the service manager is asked for, each second that it takes to boot, reload or drain. All of these have
# limits of their own, after which it is not asked any more. In seconds.
EXTENSION = 15
# A worker whose event loop has not run for this long, in seconds, is no sign that the server is alive.
HEALTHY_AGE = 5.0
MAX_STATUS = 1000
# Messages that wait for a service manager that does not read; the oldest go first.
MAX_WAITING = 64


class Notifier:
    """Sends messages to the service manager, without ever waiting for it."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        """Take the address from the environment, and the watchdog's limit if it is meant for process `pid`."""
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL of an abstract name; anything else but a path (vsock:) is for virtual machines.
        self._address = "\0" + address[1:] if address.startswith("@") else address if address.startswith("/") else ""
        limit = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        self.watchdog_limit = int(limit) / 1e6 if limit.isdecimal() and len(limit) <= 20 and mine else 0.0
        """Seconds within which it wants to hear that the server is alive; 0.0 if it does not."""
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING)
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def __bool__(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def send(self, *assignments: str) -> None:
        """Send one message; what does not get through now goes before the next one."""
        if self and assignments:
            self._waiting.append("\n".join(assignments))
            with contextlib.suppress(BlockingIOError):
                while self._waiting:
                    self._send_first()

    def close(self) -> None:
        """Give up what still waits."""
        if self:
            self._socket.close()

    def _send_first(self) -> None:
        try:
            self._socket.sendto(self._waiting[0].encode(errors="replace"), self._address)
        except BlockingIOError:
            raise
        except OSError:  # a service manager that is not there (any more) is no reason not to serve
            pass
        self._waiting.popleft()


class Announcer:
    """Tells the service manager how the server is doing.

    Call `look` after everything that happens, `reload_requested` before a reload is decided on, and `pulse` every second.
    """

    def __init__(
        self, notifier: Notifier, supervisor: Supervisor, reload_outcomes: ReloadOutcomes, scoreboard: Scoreboard
    ) -> None:
        self._notifier = notifier
        self._supervisor = supervisor
        self._reload_outcomes = reload_outcomes
        self._scoreboard = scoreboard
        self._ready = False
        self._reloading = False
        self._stopping = False
        self._status = ""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer for the watchdog: at half of its limit, as sd_watchdog_enabled(3) advises."""
        if self._notifier and self._notifier.watchdog_limit:
            self._answer_for_watchdog(loop)

    def look(self) -> None:
        """Say what has changed. After a re-exec READY is said once more, which is no news to anybody."""
        if not self._notifier:
            return
        news = []
        state = self._supervisor.state
        if state in ("stopping", "stopped"):
            if not self._stopping:
                self._stopping = True
                news.append("STOPPING=1")
        elif state == "serving" and (self._reloading or not self._ready):
            self._ready, self._reloading = True, False
            news.append("READY=1")
        status = self._describe()
        if status != self._status:
            self._status = status
            news.append(f"STATUS={status}")
        self._notifier.send(*news)

    def reload_requested(self) -> None:
        """Say that a reload begins.

        Also before one that is refused at once: who has sent the signal for it (Type=notify-reload) waits for this, with
        a time that is later than that of the signal, and then for READY=1.
        """
        if self._ready and not self._stopping:
            self._reloading = True
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def pulse(self) -> None:
        """Ask for more time while that is needed."""
        if self._supervisor.state in ("booting", "reloading", "stopping"):
            self._notifier.send(f"EXTEND_TIMEOUT_USEC={EXTENSION * 1_000_000}")

    def _describe(self) -> str:
        """The state in one line for people."""
        workers = sum(worker.state is WorkerState.READY for worker in self._supervisor.workers())
        generation = self._supervisor.generation
        text = f"{self._supervisor.state}: {workers} of {self._supervisor.count} workers, generation {generation}"
        if last := self._reload_outcomes.last:
            text += f"; last reload: {last.result}" + (f" ({last.reason})" if last.result != "ok" else "")
        return " ".join(text.split())[:MAX_STATUS]

    def _answer_for_watchdog(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_alive():
            self._notifier.send("WATCHDOG=1")
        loop.call_later(self._notifier.watchdog_limit / 2, self._answer_for_watchdog, loop)

    def _is_alive(self) -> bool:
        """Whether a worker is healthy; that this is asked shows that the master is. Booting and stopping have limits.

        Without any ready worker the supervisor is at work on getting one: a restart of everything would boot into the same
        trouble, and lose what holds on.
        """
        if self._supervisor.state in ("booting", "stopping"):
            return True
        oldest = time.monotonic() - HEALTHY_AGE
        ready = [worker for worker in self._supervisor.workers() if worker.state is WorkerState.READY]
        return not ready or any(self._scoreboard.slot(worker.number - 1).heartbeat_at >= oldest for worker in ready)
