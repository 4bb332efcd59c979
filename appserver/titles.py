"""The titles of the processes, for those who look at them with ps, top and pgrep."""

from __future__ import annotations

from setproctitle import setproctitle, setthreadtitle


def call_master(what: str) -> None:
    """Name this process the master; `what` it serves: the settings file, or the application."""
    _call(f"master [{what}]", "appserver")


def call_zygote(generation: int) -> None:
    _call(f"zygote g{generation}", f"appserver z g{generation}")


def call_worker(number: int, generation: int) -> None:
    _call(f"worker {number} g{generation}", f"appserver w{number} g{generation}")


def call_child(title: str) -> None:
    """Name a process that the application has forked off its worker; `title` says which worker."""
    setproctitle(title)
    setthreadtitle("appserver child")


def _call(title: str, short: str) -> None:
    # A file may be called what no encoding has.
    setproctitle(f"appserver: {title}".encode(errors="replace").decode())
    # The kernel's name for it, which top and pgrep show, has 15 characters: the title would be cut to "appserver: work".
    setthreadtitle(short[:15])
