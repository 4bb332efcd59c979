"""Which interface an application speaks, told by the arguments that it can be called with.

Detection goes by the signature and refuses to guess: whatever could be two things is none, and the operator is asked to
say which (`app.interface`). To take one for another would answer every request with an error instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

Interface = Literal["asgi3", "asgi2", "wsgi"]


def detect(candidate: Callable[..., Any]) -> Interface | None:
    """Return the interface that `candidate` speaks, None if it cannot be told."""
    if inspect.isclass(candidate):
        return _detect_class(candidate)
    counts = argument_counts(candidate)
    if is_async(candidate):
        return "asgi3" if 3 in counts else None
    if len(counts) != 1:
        # Several: a factory with optional arguments, or a wrapper that takes anything.
        return None
    if counts == {1}:
        # One argument is little to go by: a factory that wants something looks the same.
        return "asgi2" if next(iter(inspect.signature(candidate).parameters)) == "scope" else None
    return "wsgi" if counts == {2} else "asgi3" if counts == {3} else None


def is_async(candidate: Callable[..., Any]) -> bool:
    """Whether calling `candidate` (a function, a partial, an instance) gives a coroutine for certain."""
    if inspect.isclass(candidate):
        return False
    return inspect.iscoroutinefunction(candidate) or inspect.iscoroutinefunction(type(candidate).__call__)


def argument_counts(candidate: Callable[..., Any]) -> set[int]:
    """Return with how many positional arguments, from 0 to 3, `candidate` can be called; empty if unknown."""
    try:
        signature = inspect.signature(candidate)
    except (TypeError, ValueError):
        return set()  # a function of an extension module without a signature
    return {count for count in range(4) if _binds(signature, count)}


def instances_are_applications(candidate: type) -> bool:
    """Whether the instances of a class, not the class itself, are applications of ASGI 3.0."""
    return _takes_after_self(candidate, 3)


def _detect_class(candidate: type) -> Interface | None:
    """A class is an application where creating an instance is the call: rare, but both kinds are in use."""
    counts = argument_counts(candidate)
    if 3 in counts and hasattr(candidate, "__await__"):
        return "asgi3"  # Starlette's HTTPEndpoint: created with (scope, receive, send), then awaited
    return "asgi2" if 1 in counts and _takes_after_self(candidate, 2) else None


def _takes_after_self(candidate: type, count: int) -> bool:
    # Looked up by hand: the attribute `__call__` of every class is found on `type`.
    call = next((vars(base)["__call__"] for base in candidate.__mro__ if "__call__" in vars(base)), None)
    return inspect.isfunction(call) and _binds(inspect.signature(call), count + 1)


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
