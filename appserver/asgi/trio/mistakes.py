"""Hints for errors of applications that await something of the other library."""

from __future__ import annotations

import sys
from typing import Literal

_TRIO_UNDER_ASYNCIO = (
    "the application awaits something of trio, but runs under asyncio:"
    ' set app.async_library = "trio" if it is written for trio'
)
_ASYNCIO_UNDER_TRIO = (
    'the application awaits something of asyncio, but runs under trio (app.async_library = "trio"):'
    ' use what trio has for it, or anyio; set app.async_library = "asyncio" if it is written for asyncio'
)

_ASYNCIO_WITHOUT_TASK = (
    "Timeout should be used inside a task",
    "cannot determine the parent task",
)
"""Texts of the errors of asyncio for calls outside its tasks."""

_TRIO_WITHOUT_RUN = (
    "must be called from async context",
    "'RunContext' object has no attribute 'runner'",
    "Task got bad yield: ",
)
"""How errors begin that come of trio's functions where trio does not run."""


def explain(error: BaseException, library: Literal["asyncio", "trio"]) -> None:
    """Note with `error`, or those in it, that the application runs under `library` and has used the other one, if so."""
    note = _ASYNCIO_UNDER_TRIO if library == "trio" else _TRIO_UNDER_ASYNCIO
    for leaf in _leaves(error):
        looks_so = _awaits_asyncio(leaf) if library == "trio" else _awaits_trio(leaf)
        if looks_so and note not in getattr(leaf, "__notes__", ()):
            leaf.add_note(note)


def advice(error: BaseException | None, text: str = "") -> str:
    """Return what is to be said behind an error that is shown in one line, or a traceback that a framework has made of it.

    That is what `explain` has noted with the error; empty if there is nothing.
    """
    for leaf in () if error is None else _leaves(error):
        for note in getattr(leaf, "__notes__", ()):
            if note in (_ASYNCIO_UNDER_TRIO, _TRIO_UNDER_ASYNCIO):
                return str(note)
    if "trio.run received unrecognized yield message" in text:
        return _ASYNCIO_UNDER_TRIO
    return _TRIO_UNDER_ASYNCIO if any(f"Error: {start}" in text for start in _TRIO_WITHOUT_RUN) else ""


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _awaits_asyncio(error: BaseException) -> bool:
    text = str(error)
    if isinstance(error, TypeError):
        return text.startswith("trio.run received unrecognized yield message")
    return isinstance(error, RuntimeError) and any(part in text for part in _ASYNCIO_WITHOUT_TASK)


def _awaits_trio(error: BaseException) -> bool:
    """Whether it comes of trio's own code where trio does not run.

    Where it runs, the same is said of a call in a thread that trio has not started, about which there is nothing to advise.
    """
    trio = sys.modules.get("trio")
    if trio is None or trio.lowlevel.in_trio_run() or not str(error).startswith(_TRIO_WITHOUT_RUN):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and str(traceback.tb_frame.f_globals.get("__name__")).startswith("trio.")
