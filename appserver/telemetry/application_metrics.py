"""The application's own metrics: what prometheus_client's multi-process mode leaves in files, put together.

In that mode every process keeps its values in files of its own, named after its kind of metric and its process id. A
process that is gone leaves them behind, and a server that replaces its workers would collect files, and read all of them
at every scrape, for ever. So the files of the dead are added to one file for each kind, and removed.

The workers write into a directory that is theirs, and that is not trusted: it may hold anything. What has been put
together lies beside it, where they cannot write, as this runs in the master, which may be root.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from appserver.telemetry.logs import get_logger

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""What prometheus_client finds its directory by. It looks when it is imported, so it has to be set before."""

PREFIX = "appserver_"
"""Names that begin like this are the server's own."""

_SUFFIX = ".db"
_PAST = "past"

Value = tuple[float, float]  # and when it was set, for the gauges that want to know

_logger = get_logger(__name__)

# How the values of one that is gone go into what is kept, by what the name of its file begins with. What is not listed
# tells something of a process that lives, or of each single one, and is forgotten with it.
_MERGE: dict[str, Callable[[Value, Value], Value]] = {
    "counter": lambda kept, gone: (kept[0] + gone[0], 0.0),
    "histogram": lambda kept, gone: (kept[0] + gone[0], 0.0),
    "summary": lambda kept, gone: (kept[0] + gone[0], 0.0),
    "gauge_sum": lambda kept, gone: (kept[0] + gone[0], 0.0),
    "gauge_min": min,
    "gauge_max": max,
    "gauge_mostrecent": lambda kept, gone: max(kept, gone, key=lambda value: value[1]),
}


class ApplicationMetrics:
    """The directory of one server; every method may be called from any thread, and may take some milliseconds."""

    def __init__(self, directory: Path) -> None:
        """Use a directory that `create` has made."""
        self.directory = directory
        self.workers = directory / "workers"
        """The part of the workers, for VARIABLE."""
        self._past = directory / "past"
        self._lock = threading.Lock()
        self._complained: set[str] = set()

    def create(self, uid: int = -1, gid: int = -1) -> None:
        """Make what is missing in the directory; its part for the workers is given to the user that they run as."""
        self.directory.chmod(0o711)
        for part in (self.workers, self._past):
            part.mkdir(mode=0o700, exist_ok=True)
        if (uid, gid) != (-1, -1):  # a sandbox may forbid the call, whatever it would change
            os.chown(self.workers, uid, gid)

    def collect(self) -> list[Metric]:
        """The metrics of all processes, past and present, put together; without what cannot be read."""
        with self._lock:
            with contextlib.suppress(OSError):  # where the file system is full, they are read as they are
                self._merge_the_dead()
            values = [path for path in (*self._past.glob(f"*{_SUFFIX}"), *self._present()) if self._is_sound(path)]
            metrics: Iterable[Metric] = MultiProcessCollector.merge(map(str, values), accumulate=True)  # type: ignore[no-untyped-call]
            return [metric for metric in metrics if not metric.name.startswith(PREFIX)]

    def merge_the_dead(self) -> None:
        """Add the files of processes that are gone to what is kept, and remove them."""
        with self._lock:
            self._merge_the_dead()

    def _merge_the_dead(self) -> None:
        gone: dict[str, list[Path]] = {}
        for path in self._present():
            kind, _, process = path.stem.rpartition("_")
            if process.isdecimal() and not Path(f"/proc/{process}").exists():
                gone.setdefault(kind, []).append(path)
        for kind, paths in gone.items():
            if kind in _MERGE:
                self._keep(kind, [path for path in paths if self._is_sound(path)])
            for path in paths:
                path.unlink(missing_ok=True)

    def _keep(self, kind: str, paths: Iterable[Path]) -> None:
        """Write a new file of what is kept; it takes the place of the old one in one step."""
        kept = self._past / f"{kind}_{_PAST}{_SUFFIX}"
        values = dict(_read(kept)) if kept.exists() else {}
        merge = _MERGE[kind]
        for path in paths:
            for key, value in _read(path):
                values[key] = merge(values[key], value) if key in values else value
        made = kept.with_suffix(".new")
        try:
            made.write_bytes(_encode(values))
            made.replace(kept)
        finally:
            made.unlink(missing_ok=True)

    def _present(self) -> Iterator[Path]:
        """The files of the workers: only files, as a pipe would hold up whoever reads it, and a link leads elsewhere."""
        with os.scandir(self.workers) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)

    def _is_sound(self, path: Path) -> bool:
        """Whether a file can be read, as one whose writer was killed in its first moment cannot."""
        try:
            for key, _ in _read(path):
                _check_key(key)
            if path.stem.startswith("gauge") and path.stem.count("_") != 2:
                raise ValueError("a gauge without a mode")
        except (OSError, ValueError, struct.error) as error:
            if path.name not in self._complained:
                self._complained.add(path.name)
                _logger.warning("application metrics left out", file=str(path), reason=str(error))
            return False
        return True


def _read(path: Path) -> Iterator[tuple[str, Value]]:
    """The values of a file; raises OSError, ValueError or struct.error for one that is not as it should be."""
    for key, number, moment, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
        yield key, (number, moment)


def _encode(values: Mapping[str, Value]) -> bytes:
    """What a file with these values holds.

    prometheus_client writes through a mapping of a sparse file: where the file system is full, that is not an error but
    a signal, the end of the process. So it writes into memory here.
    """
    memory = os.memfd_create("appserver-metrics")
    try:
        file: Any = MmapedDict(f"/proc/self/fd/{memory}")  # type: ignore[no-untyped-call]
        for key, (number, moment) in values.items():
            file.write_value(key, number, moment)
        file.close()
        (used,) = struct.unpack("i", os.pread(memory, 4, 0))
        return os.pread(memory, used, 0)
    finally:
        os.close(memory)


def _check_key(key: str) -> None:
    """Raise ValueError for a key that names no metric with labels."""
    try:
        metric, name, labels, documentation = json.loads(key)
        sound = all(isinstance(one, str) for one in (metric, name, documentation, *labels, *labels.values()))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"a key that names no metric: {key[:80]!r}") from error
    if not sound:
        raise ValueError(f"a key that names no metric: {key[:80]!r}")
