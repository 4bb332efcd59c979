"""How a failed boot is put into a message for the master."""

from __future__ import annotations

import errno
import resource
from typing import Literal

from appserver.asgi.hints import unreadable
from appserver.asgi.tracebacks import examine
from appserver.errors import ApplicationImportError, AppserverError, StartupError
from appserver.worker.messages import MAX_SUMMARY_LENGTH, MAX_TRACEBACK_LENGTH, BootFailed, shorten

# What Python says where the kernel has no thread for it, and what the C library says of an extension module without memory.
NO_THREAD = "can't start new thread"
NOT_MAPPED = "failed to map segment"
NO_MEMORY = "not enough memory: raise the limit (ulimit -v, LimitAS= of systemd), or free some"

FailureKind = Literal["import", "startup", "bug"]


def describe_failure(error: AppserverError) -> BootFailed:
    """The message for an error that the operator can do something about."""
    kind: FailureKind = "import" if isinstance(error, ApplicationImportError) else "startup"
    return _boot_failed(kind, str(error), getattr(error, "traceback", ""), error.exit_code)


def describe_bug(error: BaseException) -> BootFailed:
    """The message for an error that appserver did not expect; some come from files that this user may not read, or from limits."""
    if exhausted := describe_exhaustion(error):
        return describe_failure(StartupError(exhausted))
    if isinstance(error, ImportError | PermissionError) and (places := unreadable()):
        return describe_failure(StartupError("\n  ".join([f"{type(error).__name__}: {error}", *places])))
    summary = f"a bug in appserver: {type(error).__name__}: {error}"
    return _boot_failed("bug", summary, "".join(examine(error).format()), AppserverError.exit_code)


def describe_exhaustion(error: BaseException) -> str | None:
    """Say which limit on open files, processes or memory has been reached, if `error` says that one has been."""
    if isinstance(error, RuntimeError) and str(error) == NO_THREAD:
        return (
            f"{NO_THREAD}: raise the limit on processes and threads (ulimit -u, TasksMax= of systemd, pids.max of a control group) "
            "or on memory (ulimit -v)"
        )
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and NOT_MAPPED in str(error)):
        return NO_MEMORY
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOMEM:
        return NO_MEMORY
    if error.errno == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"too many open files: a process may have {limit} (ulimit -n, LimitNOFILE= of systemd, workers.max_open_files); "
            "raise that limit"
        )
    if error.errno == errno.ENFILE:
        return (
            "too many open files in the whole system (sysctl fs.file-max): raise that limit, or find who has them open"
        )
    return None


def _boot_failed(kind: FailureKind, summary: str, trace: str, exit_code: int) -> BootFailed:
    return BootFailed(kind, shorten(summary, MAX_SUMMARY_LENGTH), shorten(trace, MAX_TRACEBACK_LENGTH), exit_code)
