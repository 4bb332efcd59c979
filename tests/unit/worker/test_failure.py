"""appserver.worker.failure: a boot that fails for want of descriptors is no bug."""

from __future__ import annotations

import errno
import resource

import pytest

from appserver.worker.failure import describe_bug


@pytest.mark.parametrize(("number", "said"), [(errno.EMFILE, "workers.max_open_files"), (errno.ENFILE, "fs.file-max")])
def test_too_many_open_files_are_named_with_the_limit(number: int, said: str) -> None:
    failure = describe_bug(OSError(number, "Too many open files"))
    assert (failure.kind, failure.exit_code) == ("startup", 5)
    assert failure.message.startswith("too many open files")
    assert said in failure.message
    if number == errno.EMFILE:
        assert str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) in failure.message


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), "ulimit -u, TasksMax="),
        (MemoryError(), "ulimit -v"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ulimit -v"),
        (ImportError("_x.so: failed to map segment from shared object"), "ulimit -v"),
    ],
)
def test_a_limit_on_threads_or_memory_is_named(error: Exception, said: str) -> None:
    failure = describe_bug(error)
    assert (failure.kind, failure.exit_code, failure.traceback) == ("startup", 5, "")
    assert said in failure.message


def test_other_errors_stay_bugs() -> None:
    assert describe_bug(OSError(errno.EIO, "I/O error")).exit_code == 70
    assert describe_bug(ValueError("x")).kind == describe_bug(RuntimeError("x")).kind == "bug"
