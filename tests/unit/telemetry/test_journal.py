"""Priorities for the journal of systemd, and only for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from appserver.settings import LoggingSettings
from appserver.telemetry import logs
from appserver.telemetry.journal import leads_to_journal, with_priority
from appserver.telemetry.output import Destination, LogOutput


def name_of(fd: int) -> str:
    status = os.fstat(fd)
    return f"{status.st_dev}:{status.st_ino}"


def test_the_journal_is_known_by_device_and_inode() -> None:
    one, other = socket.socketpair()
    with one, other:
        environment = {"JOURNAL_STREAM": name_of(one.fileno())}
        assert leads_to_journal(one.fileno(), environment)
        with one.dup() as duplicate:
            assert leads_to_journal(duplicate.fileno(), environment)
        assert not leads_to_journal(other.fileno(), environment)
        assert not leads_to_journal(one.fileno(), {})


def test_a_closed_stream_leads_nowhere() -> None:
    one, other = socket.socketpair()
    other.close()
    environment = {"JOURNAL_STREAM": name_of(one.fileno())}
    fd = one.fileno()
    one.close()
    assert not leads_to_journal(fd, environment)


@pytest.mark.parametrize(
    ("level", "lines", "entries"),
    [
        ("debug", b"a\n", b"<7>a\n"),
        ("info", b"a\n", b"<6>a\n"),
        ("warning", b"a\n", b"<4>a\n"),
        ("error", b"a\n  b\n", b"<3>a\n<3>  b\n"),
        ("critical", b"a\rb\n", b"<2>a\rb\n"),
        ("notice", b"a\n", b"<6>a\n"),
        ("info", b"a\n\n", b"<6>a\n<6>\n"),
    ],
)
def test_every_line_has_the_priority_of_its_level(level: str, lines: bytes, entries: bytes) -> None:
    assert with_priority(level, lines) == entries


@pytest.mark.usefixtures("process")
def test_the_log_has_priorities_in_the_journal_and_in_a_file_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, reader = socket.socketpair()
    with journal, reader:
        stderr = os.dup(2)
        os.dup2(journal.fileno(), 2)
        try:
            monkeypatch.setenv("JOURNAL_STREAM", name_of(2))
            logs.configure(LoggingSettings(), process="master")
            logs.get_logger("appserver.test").error("failed")
            logs.configure(LoggingSettings(file=tmp_path / "log"), process="master")
            logs.get_logger("appserver.test").error("failed")
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        line = reader.recv(65536)
    assert line.startswith(b'<3>{"timestamp":')
    assert line.count(b"<") == 1
    assert (tmp_path / "log").read_text().startswith('{"timestamp":')


def test_a_record_goes_to_the_journal_in_one_piece() -> None:
    journal, reader = socket.socketpair()
    with journal, reader:
        output = LogOutput(Destination.stream(journal.fileno()))
        line = b"x" * 20_000 + b"\n"
        output.write(line)
        output.close()
        assert reader.recv(65536) == line
