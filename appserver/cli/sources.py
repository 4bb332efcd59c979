"""The files that development looks at, and waiting for a change of them: `appserver dev` and `--watch`."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate
from pathlib import Path
from typing import TYPE_CHECKING

from appserver import signals
from appserver.distribution import how_to_install
from appserver.errors import AppserverError, Problem, SettingsError, UsageError
from appserver.files.kinds import exists, is_directory
from appserver.settings import Loaded
from appserver.telemetry.logs import get_logger

if TYPE_CHECKING:
    import watchfiles

# Saves that follow each other within so many milliseconds are one change: "save all", a checkout, a formatter.
QUIET = 100


# What is logged where files cannot be watched, and seconds until that is tried again.
_ADVICE = "raise fs.inotify.max_user_watches and max_user_instances (sysctl), or watch less (app.directory, dev.watch); it is tried again"
_PAUSE = 5.0


class WatchError(Exception):
    """Files cannot be watched: the kernel has no room for that, or they are gone."""


Found = queue.SimpleQueue[list[str] | WatchError | None]
"""What has changed, then None or the error of each thread that watches."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The watched paths: directories with all that is below them, and single files.

    Files are watched through the directory that they are in: most editors write a new file and rename it, and a watch of
    the old one would see nothing any more.
    """

    directories: tuple[Path, ...]
    files: frozenset[Path]
    patterns: tuple[str, ...]
    ignore: tuple[str, ...]

    @classmethod
    def of(cls, loaded: Loaded) -> Sources:
        """Read them from the settings. Raises SettingsError for a path of `dev.watch` that does not exist."""
        settings = loaded.settings
        named = [Path(entry) for entry in settings.dev.watch]
        if missing := [path for path in named if not exists(path)]:
            problem = "no such file or directory"
            raise SettingsError([Problem("dev.watch", "dev.watch", f'"{path}"', problem) for path in missing])
        files = [*loaded.paths, *filter(None, (settings.app.env_file, settings.logging.config_file))]
        files += [path for path in named if not is_directory(path)]
        directories = [settings.app.directory, *(path for path in named if is_directory(path))]
        return cls(
            tuple(dict.fromkeys(path.resolve() for path in directories)),
            frozenset(path.resolve() for path in files),
            settings.dev.patterns,
            settings.dev.ignore,
        )

    def changes(self, stop: threading.Event) -> Iterator[list[str]]:
        """Yield the names of what has changed, each change as one list, until `stop` is set.

        Raises WatchError when they cannot be watched (any more); `stop` is then to be set.
        """
        found: Found = queue.SimpleQueue()
        watches = [threading.Thread(target=self._watch_directories, args=(stop, found), daemon=True)]
        if alone := {path.parent for path in self.files if not self._root_of(path)}:
            watches.append(threading.Thread(target=self._watch_files, args=(alone, stop, found), daemon=True))
        for watch in watches:
            watch.name = "appserver-watch"
            watch.start()
        yield from _until_none(found, len(watches))

    def _watch_directories(self, stop: threading.Event, found: Found) -> None:
        import watchfiles

        usual = watchfiles.DefaultFilter()
        ignored = [re.compile(translate(pattern)) for pattern in (*self.ignore, "site-packages", "venv")]

        def counts(change: watchfiles.Change, name: str) -> bool:
            path = Path(name)
            if path in self.files:
                return True
            if (root := self._root_of(path)) is None or not any(fnmatchcase(path.name, one) for one in self.patterns):
                return False
            inside = path.relative_to(root)  # where the project itself lies is none of the filter's business
            return usual(change, str(inside)) and not any(one.match(part) for one in ignored for part in inside.parts)

        self._watch(self.directories, counts, stop, found, recursive=True)

    def _watch_files(self, folders: set[Path], stop: threading.Event, found: Found) -> None:
        self._watch(tuple(folders), lambda _, name: Path(name) in self.files, stop, found, recursive=False)

    @staticmethod
    def _watch(
        paths: tuple[Path, ...],
        counts: Callable[[watchfiles.Change, str], bool],
        stop: threading.Event,
        found: Found,
        *,
        recursive: bool,
    ) -> None:
        import watchfiles

        signals.block()  # they are for the main thread
        try:
            watch = watchfiles.watch(
                *paths, watch_filter=counts, stop_event=stop, step=QUIET, recursive=recursive, raise_interrupt=False
            )
            for changes in watch:
                found.put(sorted({name for _, name in changes}))
        except (OSError, RuntimeError) as error:  # the latter is the base of the library's own errors
            found.put(WatchError(f"{error}"))
        else:
            found.put(None)

    def _root_of(self, path: Path) -> Path | None:
        return next((root for root in self.directories if root in path.parents), None)


def _until_none(found: Found, watches: int) -> Iterator[list[str]]:
    while watches:
        names = found.get()
        if isinstance(names, WatchError):
            raise names
        if names is None:
            watches -= 1
        else:
            yield names


def require_watchfiles(what: str) -> None:
    """Raise UsageError if the library that watches is not installed; `what` needs it."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise UsageError(f"{what} needs watchfiles, which is not installed: {how_to_install('watch')}") from None


def watch_sources(loaded: Loaded, reread: Callable[[], Loaded], changed: Callable[[list[str]], None]) -> None:
    """From now on call `changed`, in a thread, with the names of the files of each change.

    What is watched follows the settings, which `reread` reads again after each change; while they are broken it stays
    what it was. Raises UsageError if watchfiles is not installed, SettingsError if `dev.watch` names what does not exist.
    """
    require_watchfiles("watching")
    logging.getLogger("watchfiles").setLevel(
        logging.WARNING
    )  # it counts the changes, and whoever asked is told of them
    sources = Sources.of(loaded)

    def watch() -> None:
        signals.block()
        current, complaint = sources, ""
        while True:
            stop = threading.Event()
            try:
                for names in current.changes(stop):
                    complaint = ""
                    changed(names)
                    with contextlib.suppress(AppserverError):
                        wanted = Sources.of(reread())
                        if wanted != current:
                            current = wanted
                            stop.set()
            except WatchError as error:
                stop.set()
                if str(error) != complaint:
                    complaint = str(error)
                    get_logger("appserver.watch").error("files cannot be watched", reason=complaint, advice=_ADVICE)
                time.sleep(_PAUSE)

    threading.Thread(target=watch, name="appserver-watch", daemon=True).start()


def reload_this_process(names: list[str]) -> None:  # noqa: ARG001 - the master says itself why it reloads
    """Ask the master, which this process is, for a reload."""
    os.kill(os.getpid(), signal.SIGHUP)
