"""Errors as Lambda wants them: an object with type, message and stack trace."""

from __future__ import annotations

import traceback
from typing import Any

from appserver.errors import ApplicationImportError, AppserverError, EventError, SettingsError, StartupError

MAX_MESSAGE = 4096
MAX_FRAMES = 64


def describe(error: BaseException) -> dict[str, Any]:
    """An error that has ended an invocation, or kept the function from starting."""
    return {
        "errorMessage": str(error)[:MAX_MESSAGE],
        "errorType": kind_of(error),
        "stackTrace": _stack(error)[-MAX_FRAMES:],
    }


def kind_of(error: BaseException) -> str:
    """The type of an error, as "Category.Reason"."""
    if isinstance(error, EventError):
        return f"Function.{error.kind}"
    for kind, name in (
        (ApplicationImportError, "Runtime.ImportModuleError"),
        (StartupError, "Runtime.StartupError"),
        (SettingsError, "Runtime.InvalidSettings"),
        (AppserverError, "Runtime.Error"),
    ):
        if isinstance(error, kind):
            return name
    return f"Function.{type(error).__name__}"


def _stack(error: BaseException) -> list[str]:
    text = getattr(error, "traceback", "")  # the application's own, as text
    if text:
        return [line for line in str(text).splitlines() if line.strip()]
    if isinstance(error, AppserverError):
        return []
    return [line.rstrip("\n") for line in traceback.format_tb(error.__traceback__)]
