"""appserver.master.host: what a server needs of its machine."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from appserver.errors import StartupError
from appserver.master.host import require_descriptors, require_proc


def test_without_proc_that_is_what_is_said(tmp_path: Path) -> None:
    require_proc()
    with pytest.raises(StartupError, match="is not there, and appserver needs it: mount /proc") as raised:
        require_proc(tmp_path / "self" / "fd")
    assert raised.value.exit_code == 5


@pytest.mark.parametrize(("workers", "listeners", "needed"), [(2, 1, 27), (2, 3, 29), (17, 1, 72)])
def test_a_limit_without_room_for_the_workers_is_named(workers: int, listeners: int, needed: int) -> None:
    for enough in (needed, resource.RLIM_INFINITY):
        require_descriptors(workers, listeners, enough)
    said = rf"may have {needed - 1} files open \(ulimit -n\), .*at least {needed} are needed"
    with pytest.raises(StartupError, match=said) as raised:
        require_descriptors(workers, listeners, needed - 1)
    assert "LimitNOFILE=" in str(raised.value)


def test_it_is_the_limit_of_this_process() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(StartupError, match=f"may have {soft} files open"):
        require_descriptors(soft, 1)
