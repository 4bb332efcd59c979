"""Looking at processes through /proc: who belongs to a server, what they are called, what they have used."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_WORKER = re.compile(r"appserver: worker (\d+) g(\d+)")
_ZYGOTE = re.compile(r"appserver: zygote g(\d+)")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc showed it at one moment."""

    pid: int
    parent: int
    session: int
    state: str
    title: str
    cpu_seconds: float
    group: int = 0

    @property
    def worker(self) -> tuple[int, int] | None:
        """(number, generation) if the title is that of a worker."""
        match = _WORKER.match(self.title)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def zygote(self) -> int | None:
        """The generation if the title is that of a zygote."""
        match = _ZYGOTE.match(self.title)
        return int(match[1]) if match else None

    @property
    def running(self) -> bool:
        """A zombie has ended: it only waits to be reaped."""
        return self.state not in "ZX"


def look_at(pid: int) -> Process | None:
    """Read /proc/PID (proc(5)); None if there is no such process any more. CPU time includes reaped children."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may itself hold brackets and spaces: count from the last one.
    fields = stat[stat.rindex(")") + 2 :].split()
    state, parent, group, session = fields[0], *map(int, fields[1:4])
    return Process(pid, parent, session, state, title, sum(map(int, fields[11:15])) / _TICKS, group)


def all_processes() -> list[Process]:
    """Every process of this machine, by pid."""
    return [process for pid in _pids() if (process := look_at(pid))]


def _pids() -> list[int]:
    return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def in_session(session: int) -> list[Process]:
    """The running processes of a session: they stay in it when their parent dies."""
    # The kernel is asked for the session first: there may be hundreds of other processes, and some look again and again.
    found = [look_at(pid) for pid in _pids() if _session_of(pid) == session]
    return [process for process in found if process and process.session == session and process.running]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def descendants(pid: int) -> list[Process]:
    """The process itself and all that descend from it, running or not yet reaped."""
    processes = all_processes()
    family = {pid}
    while True:
        grown = family | {process.pid for process in processes if process.parent in family}
        if grown == family:
            return [process for process in processes if process.pid in family]
        family = grown


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process tree so far, with the children that were reaped in it."""
    return sum(process.cpu_seconds for process in descendants(pid))


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    process = look_at(pid)
    return process is not None and process.running


def memory_peak(pid: int) -> int:
    """The most memory, in bytes, that a process has had since its start or since `reset_memory_peak` (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def reset_memory_peak(pid: int) -> None:
    """Have the peak begin anew at what the process has now (proc_pid_clear_refs(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def resident_memory(pid: int) -> int:
    """The memory, in bytes, that a process has at present."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
