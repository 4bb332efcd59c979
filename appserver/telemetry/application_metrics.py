"""The application's own metrics: what prometheus_client's multi-process mode leaves in files, put together.

In that mode every process keeps its values in files of its own, named after its kind of metric and its process id. A
process that is gone leaves them behind, and a server that replaces its workers would collect files, and read all of them
at every scrape, for ever. So the files of the dead are added to one file for each kind, and removed.

The workers write into a directory that is theirs, and that is not trusted: it may hold anything. The files
that this module makes lie beside it, where workers cannot write: it runs in the master, which may be root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric

from appserver.files import make_directory
from appserver.telemetry.logs import get_logger
from appserver.telemetry.metric_families import MAX_SAMPLES, MERGE, Families, Key
from appserver.telemetry.metric_files import MAX_FILE_SIZE, MetricFile, Value, encode

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the directory to prometheus_client, which reads it when it is imported: it has to be set before."""

MAX_SIZE = 4 * MAX_FILE_SIZE
"""So many bytes are read for one page, of all files together."""

MAX_FILES = 10_000
"""So many files are looked at for one page."""

_MAX_COMPLAINTS = 100
_SUFFIX = ".db"
_PAST = "past"

_logger = get_logger(__name__)


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
        make_directory(self._past)
        make_directory(self.workers, uid, gid)

    def collect(self) -> list[Metric]:
        """The metrics of all processes, past and present, put together; without what cannot be read."""
        with self._lock:
            with contextlib.suppress(OSError):  # where the file system is full, they are read as they are
                self._merge_the_dead()
            families = Families(self._refuse)
            left = MAX_SIZE
            for directory in (self._past, self.workers):
                with _opened(directory) as fd:
                    for name in self._names(fd):
                        left -= self._add(families, name, fd, left)
            return families.metrics()

    def _add(self, families: Families, name: str, directory: int, limit: int) -> int:
        """Add the values of one file, up to where it makes no sense; returns how many bytes have been read."""
        kind, _, process = name.removesuffix(_SUFFIX).rpartition("_")
        read = 0
        try:
            file = self._read(name, directory, min(limit, MAX_FILE_SIZE))
            read = file.size
            for text, value in file.values():
                families.add(kind, process, text, value)
        except (OSError, ValueError) as error:
            self._complain(name, file=name, reason=str(error))
        return read

    def merge_the_dead(self) -> None:
        """Add the files of processes that are gone to what is kept, and remove them."""
        with self._lock:
            self._merge_the_dead()

    def _merge_the_dead(self) -> None:
        with _opened(self.workers) as directory:
            gone: dict[str, list[str]] = {}
            for name in self._names(directory):
                kind, _, process = name.removesuffix(_SUFFIX).rpartition("_")
                if process.isdecimal() and not Path(f"/proc/{process}").exists():
                    gone.setdefault(kind, []).append(name)
            for kind, names in gone.items():
                if kind in MERGE:
                    self._keep(kind, names, directory)
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)

    def _keep(self, kind: str, names: Iterable[str], directory: int) -> None:
        """Write a new file of what is kept; it takes the place of the old one in one step."""
        kept = self._past / f"{kind}_{_PAST}{_SUFFIX}"
        values: dict[str, Value] = {}
        if kept.exists():
            with _opened(self._past) as past:
                values = dict(MetricFile(kept.name, past).values())
        merge = MERGE[kind]
        for name in names:
            for key, value in self._sound_values(kind, name, directory):
                if key in values:
                    values[key] = merge(values[key], value)
                elif len(values) < MAX_SAMPLES:
                    values[key] = value
        made = kept.with_suffix(".new")
        try:
            made.write_bytes(encode(values))
            made.replace(kept)
        finally:
            made.unlink(missing_ok=True)

    def _sound_values(self, kind: str, name: str, directory: int) -> Iterator[tuple[str, Value]]:
        """The values of a file that may stand on the page, up to where the file makes no sense."""
        try:
            for text, value in self._read(name, directory, MAX_FILE_SIZE).values():
                key = Key.parse(text)
                objection = key.objection(kind)
                if objection is None:
                    yield text, value
                else:
                    self._refuse(key.family[:80], objection)
        except (OSError, ValueError) as error:
            self._complain(name, file=name, reason=str(error))

    def _names(self, directory: int) -> Iterator[str]:
        """The files in a directory that may hold values."""
        with os.scandir(directory) as entries:
            names = [entry.name for entry in itertools.islice(entries, MAX_FILES) if entry.name.endswith(_SUFFIX)]
        yield from names

    def _read(self, name: str, directory: int, limit: int) -> MetricFile:
        file = MetricFile(name, directory, limit)
        if file.left_out:
            self._complain(f"{name}: size", file=name, reason=f"{file.left_out} bytes of it are too many")
        return file

    def _refuse(self, metric: str, reason: str) -> None:
        self._complain(f"{metric}: {reason}", metric=metric, reason=reason)

    def _complain(self, subject: str, **fields: str) -> None:
        """Say once that something is left out, and end with that before it fills the log."""
        if subject not in self._complained and len(self._complained) < _MAX_COMPLAINTS:
            self._complained.add(subject)
            _logger.warning("application metrics left out", **fields)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
