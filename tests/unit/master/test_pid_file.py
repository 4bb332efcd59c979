from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appserver.errors import PidFileError
from appserver.master.pid_file import PidFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.pid"


def test_it_holds_the_pid_and_is_removed_at_the_end(path: Path) -> None:
    pid_file = PidFile(path)
    pid_file.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert os.listdir(path.parent) == [path.name]
    pid_file.remove()
    assert not path.exists()
    pid_file.remove()


@pytest.mark.parametrize("content", ["", "nonsense", "999999999", "1"])
def test_what_a_killed_server_left_is_replaced(path: Path, content: str) -> None:
    path.write_text(content)
    PidFile(path).write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_running_server_keeps_its_file(path: Path) -> None:
    program = "import setproctitle, sys; setproctitle.setproctitle('appserver: master [x]'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        path.write_text(str(other.pid))
        with pytest.raises(PidFileError, match=f"process {other.pid}.*is running"):
            PidFile(path).write()
        PidFile(path).remove()
        assert path.exists()
        other.communicate()


def test_another_program_that_has_got_the_pid_does_not_count(path: Path) -> None:
    program = ["-c", "import sys; print(flush=True); sys.stdin.read()", "edit", "appserver.toml"]
    with subprocess.Popen([sys.executable, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        path.write_text(str(other.pid))
        PidFile(path).write()
        assert path.read_text() == f"{os.getpid()}\n"
        other.communicate()


def test_one_that_cannot_be_written_is_a_clear_error(path: Path) -> None:
    with pytest.raises(PidFileError, match="No such file or directory"):
        PidFile(path / "below").write()
