"""Processes that an application has started, and whose worker is gone: named when they have been left, ended with the server.

They are left running until then, as any program's are that ends: after a reload or a crash, an export or a conversion that a
request has started may still be wanted. But nobody in the application knows them any more, and processes of a pool wait for
ever when their worker has been killed. So the log says which they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from appserver import leftovers
from appserver.leftovers import Leftover

if TYPE_CHECKING:
    from appserver.engine.service import Logger

OWN_TITLES = ("appserver: worker ", "appserver: zygote ")

# How many processes are named; an application may leave thousands.
MAX_NAMED = 20

# How often to look after the exit of a worker. A process that a look finds is named at the next one, since many end by themselves:
# the helpers of `multiprocessing`, and programs that read from the worker.
LOOKS = 2


class Strays:
    """The children of the master that are neither zygotes nor workers."""

    def __init__(self, known: Callable[[], Collection[int]], log: Logger) -> None:
        """`known` are the children that are somebody's to watch."""
        self._known = known
        self._log = log
        self._looks = 0  # that are left
        self._stopping = False
        self._seen: set[int] = set()
        self._named: set[int] = set()

    def worker_gone(self) -> None:
        """A worker has exited, whatever the reason: `look` the next times that it is called."""
        self._looks = LOOKS

    def stopping(self) -> None:
        """The server is to stop: name nothing any more, what is left is ended."""
        self._stopping = True

    def look(self) -> None:
        """Name what a worker has left, once. Due once a second."""
        if not self._looks or self._stopping:
            return
        try:
            found = self._find()
        except OSError:  # no descriptor is free: at the next look one may be
            return
        self._looks -= 1
        pids = {process.pid for process in found}
        self._named &= pids
        strangers = [process for process in found if process.pid in self._seen - self._named and _is_strange(process)]
        self._seen = pids
        self._named.update(process.pid for process in strangers)
        if strangers:
            self._log.warning(
                "processes left",
                reason="the application has started them, and no worker is their parent any more",
                **_described(strangers),
                advice="they go on until the server stops; end them yourself if nobody wants them any more",
            )

    def end(self) -> None:
        """End what is left; nothing else is there to serve or to wait for any more."""
        found, killed = leftovers.end(self._find)
        strangers = [process for process in found if _is_strange(process)]
        if strangers:
            self._log.warning(
                "processes ended",
                reason="the application has started them, and its workers are gone",
                **_described(strangers),
                killed=sum(process in strangers for process in killed),
                advice="end them in the application's shutdown, or start them in a session of their own",
            )

    def _find(self) -> list[Leftover]:
        known = self._known()
        return [process for process in leftovers.of_this_process() if process.pid not in known]


def _is_strange(process: Leftover) -> bool:
    """A worker whose zygote has not named it is nobody's, but the application has not started it; it may have its zygote's title yet."""
    return bool(process.title) and not process.title.startswith(OWN_TITLES)


def _described(strangers: list[Leftover]) -> dict[str, object]:
    return {"processes": [str(process) for process in strangers[:MAX_NAMED]], "count": len(strangers)}
