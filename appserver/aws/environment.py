"""The variables by which Lambda speaks to a process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from appserver.errors import UsageError
from appserver.settings import read_env_file

API = "AWS_LAMBDA_RUNTIME_API"
TRACE = "_X_AMZN_TRACE_ID"

_ELSEWHERE = f"""\
this is no Lambda environment: {API} is not set.
  Lambda sets it where `appserver lambda` is the `bootstrap` of a custom runtime (provided.al2023), or the command of a container
  image. To serve on a socket, here or there, it is `appserver --config FILE`; to try a function out, run it under
  aws-lambda-rie (deploy/lambda)"""


class Environment(NamedTuple):
    """`api` is the address of the Runtime API, `max_concurrency` how many invocations come at once at most."""

    api: str
    max_concurrency: int
    variables: dict[str, str]

    @classmethod
    def read(cls) -> Environment:
        """Raises UsageError where this is no Lambda environment."""
        api = os.environ.get(API)
        if not api:
            raise UsageError(_ELSEWHERE)
        most = os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "")
        return cls(api, int(most) if most.isascii() and most.isdigit() and int(most) else 1, dict(os.environ))


def is_initializing() -> bool:
    """Whether this process is a function that Lambda is starting, and that is not a snapshot to start others from."""
    return API in os.environ and os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start"


def trace_id() -> str | None:
    """The trace of the invocation under way, where Lambda's own runtime has taken it."""
    return os.environ.get(TRACE)


def propagate(trace: str | None) -> None:
    """Let the X-Ray SDK find the trace of the one invocation that is under way."""
    if trace is None:
        os.environ.pop(TRACE, None)
    else:
        os.environ[TRACE] = trace


def add_file(path: Path | None) -> None:
    """Set the variables of `app.env_file`, if there is one. Raises SettingsError."""
    if path is not None:
        os.environ.update(read_env_file(path))
