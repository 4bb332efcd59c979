"""The output of lines, on real pipes, files, terminals and full devices."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import SettingsError
from appserver.telemetry.output import Destination, LogOutput
from tests.support.waiting import eventually

PIPE_SIZE = 2 * select.PIPE_BUF


class Pipe:
    """A pipe whose reader reads when the test says so; holds two pages."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    def fill(self) -> None:
        os.write(self.writer, b"." * (PIPE_SIZE - 1) + b"\n")

    def read(self) -> bytes:
        return os.read(self.reader, 1 << 20)

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            data += self.read()
        return data

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            try:
                os.close(fd)
            except OSError:
                pass  # the test has


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def noticing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread notice that it is given up, be the machine as busy as it may."""
    monkeypatch.setattr("appserver.telemetry.output._LAST_LOOKS", 30.0)


def report(event: str, fields: Mapping[str, Any]) -> bytes:
    return f"{event} {fields.get('count', '')}\n".encode()


@contextmanager
def file_size_limit(octets: int) -> Iterator[None]:
    """Let writes beyond so many octets fail, in the middle of a line too, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def in_file(path: Path, **options: Any) -> LogOutput:
    return LogOutput(Destination.file(path, "logging.file"), report=report, **options)


class TestDestination:
    def test_a_file_is_made_for_its_owner_and_group(self, tmp_path: Path) -> None:
        umask = os.umask(0)
        try:
            Destination.file(tmp_path / "log", "logging.file").close()
        finally:
            os.umask(umask)
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o640

    def test_a_file_that_is_there_is_appended_to(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("before\n")
        output = in_file(tmp_path / "log")
        output.write(b"after\n")
        output.close()
        assert (tmp_path / "log").read_text() == "before\nafter\n"

    @pytest.mark.parametrize("name", ["missing/log", "."])
    def test_a_file_that_cannot_be_opened_names_the_setting_the_path_and_the_reason(
        self, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(SettingsError) as caught:
            Destination.file(tmp_path / name, "access_log.file")
        (problem,) = caught.value.problems
        assert problem.key == "access_log.file"
        assert problem.value == str(tmp_path / name)
        assert "cannot be opened: " in problem.expected

    def test_a_fifo_that_nobody_reads_does_not_hold_up_the_start(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(SettingsError, match="No such device or address"):
            Destination.file(tmp_path / "fifo", "logging.file")

    def test_a_stream_is_a_duplicate(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        os.close(pipe.writer)
        output.write(b"still there\n")
        assert pipe.read() == b"still there\n"
        output.close()

    def test_what_goes_to_a_closed_stream_is_counted_as_lost(self, pipe: Pipe) -> None:
        os.close(pipe.writer)
        output = LogOutput(Destination.stream(pipe.writer))
        output.write(b"one\ntwo\n")
        assert output.dropped == 2
        output.close()

    def test_it_knows_a_terminal(self, pipe: Pipe) -> None:
        controller, terminal = os.openpty()
        destinations = Destination(terminal), Destination.stream(pipe.writer)
        assert [destination.is_terminal for destination in destinations] == [True, False]
        for destination in destinations:
            destination.close()
        os.close(controller)


class TestWithoutThread:
    """What a process does that forks, or that has not started its thread yet."""

    def test_lines_are_written_at_once(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.write(b"line\n")
        assert pipe.read() == b"line\n"
        assert output.flush()
        output.close()

    def test_a_reader_that_does_not_read_costs_a_moment_and_the_line(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer), report=report)
        pipe.fill()
        started = time.monotonic()
        output.write(b"lost\n")
        assert time.monotonic() - started < 10
        assert output.dropped == 1
        pipe.read()
        output.write(b"next\n")
        assert pipe.read() == b"next\nlog lines dropped 1\n"
        output.close()

    def test_it_waits_for_the_reader_if_nothing_may_be_dropped(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer), on_full="block")
        pipe.fill()
        caller = threading.Thread(target=output.write, args=(b"kept\n",))
        caller.start()
        caller.join(0.3)
        assert caller.is_alive()
        pipe.read()
        assert pipe.read_until(b"kept\n")
        caller.join()
        assert output.dropped == 0
        output.close()

    def test_lines_longer_than_a_pipe_takes_at_once_arrive_whole(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.start_writer()
        lines = b"x" * 10_000 + b"\n" + b"short\n"
        output.write(lines)
        assert pipe.read_until(b"short\n") == lines
        output.close()


class TestLosses:
    def test_a_full_disk_stops_nobody(self) -> None:
        output = in_file(Path("/dev/full"))
        output.start_writer()
        output.write(b"one\ntwo\n")
        assert output.flush(30)
        assert output.dropped == 2
        output.close()

    def test_a_closed_pipe_stops_nobody(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer), report=report)
        output.start_writer()
        os.close(pipe.reader)
        output.write(b"one\n")
        assert output.flush(30)
        assert output.dropped == 1
        output.close()

    @pytest.mark.usefixtures("noticing")
    def test_what_a_reader_that_stands_still_never_gets_is_counted(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.start_writer()
        for number in range(2000):
            output.write(b"%0999d\n" % number)
        output.close(timeout=0.01)
        os.close(pipe.writer)
        got = 0
        while piece := os.read(pipe.reader, 1 << 20):
            got += piece.count(b"\n")
        assert got < 2000
        assert got + output.dropped == 2000

    def test_one_that_is_closed_has_nothing_to_flush(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.start_writer()
        output.write(b"one\n")
        output.close()
        assert output.flush(0.01)

    def test_nothing_follows_the_remains_of_a_line_that_the_disk_was_full_for(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log")
        with file_size_limit(8):
            output.write(b"first\nsecond\nthird\n")
            output.write(b"fourth\n")
        assert output.dropped == 3
        output.write(b"fifth\n")
        output.write(b"sixth\n")
        output.close()
        assert (tmp_path / "log").read_bytes() == b"first\nse\nfifth\nlog lines dropped 3\nsixth\n"

    def test_a_loss_without_end_is_reported_meanwhile_where_that_can_be_done(self) -> None:
        reports: list[int] = []

        def elsewhere(event: str, fields: Mapping[str, Any]) -> bytes:
            reports.append(fields["count"])
            return b""

        output = LogOutput(Destination.file(Path("/dev/full"), "access_log.file"), report=elsewhere)
        output.start_writer()
        try:
            output.write(b"one\n")
            assert output.flush(30)
            output.write(b"two\nthree\n")
            assert output.flush(30)
            assert reports == [1]
            assert output.dropped == 3
        finally:
            output.close()

    def test_a_lost_report_is_repeated_and_not_counted(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log")
        with file_size_limit(6):
            output.write(b"lost line\n")
        with file_size_limit(14):
            output.write(b"second\n")  # fits behind the remains of the first, the report does not
        assert output.dropped == 1
        output.write(b"third\n")
        output.close()
        assert output.dropped == 1
        assert (tmp_path / "log").read_bytes() == b"lost l\nsecond\nthird\nlog lines dropped 1\n"

    def test_a_full_disk_is_waited_for_if_nothing_may_be_dropped(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log", on_full="block")
        output.start_writer()
        with file_size_limit(3):
            output.write(b"first\nsecond\n")
            eventually(lambda: (tmp_path / "log").stat().st_size == 3, "the part of the line that has room")
            assert not output.flush(0.01)
        assert output.flush(30)
        assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
        output.close()
        assert output.dropped == 0

    def test_other_errors_are_not_waited_for(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer), on_full="block")
        os.close(pipe.reader)
        output.write(b"one\n")
        assert output.dropped == 1
        output.close()

    def test_lines_after_the_end_are_counted(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log")
        output.close()
        output.close()
        output.write(b"late\n")
        assert output.dropped == 1


class TestThread:
    def test_the_caller_never_waits_for_a_reader_that_does_not_read(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer), report=report, limit=64 * 1024)
        output.start_writer()
        line = b"x" * 99 + b"\n"
        started = time.monotonic()
        for _ in range(10_000):
            output.write(line)
        assert time.monotonic() - started < 20
        assert output.dropped > 9_000
        assert not output.flush(0.01)

        arrived = pipe.read_until(b"log lines dropped %d\n" % output.dropped)
        assert arrived.count(line) == 10_000 - output.dropped
        output.close()

    def test_nothing_is_lost_if_nothing_may_be_dropped(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer), on_full="block", limit=1000)
        output.start_writer()
        lines = [b"line %d\n" % number for number in range(2000)] + [b"x" * 2000 + b"\n", b"end\n"]

        def write() -> None:
            for line in lines:
                output.write(line)

        caller = threading.Thread(target=write)
        caller.start()
        assert pipe.read_until(b"end\n") == b"".join(lines)
        caller.join()
        assert output.dropped == 0
        output.close()

    def test_lines_of_several_writers_on_one_pipe_stay_whole(self, pipe: Pipe) -> None:
        outputs = [LogOutput(Destination.stream(pipe.writer)) for _ in range(2)]
        line = {output: bytes([ord("a") + number]) * 150 + b"\n" for number, output in enumerate(outputs)}
        for output in outputs:
            output.start_writer()
            output.write(line[output] * 1000)
        data = b""
        while len(data) < 2 * 151 * 1000:
            data += pipe.read()
        assert {line: data.split(b"\n").count(line[:-1]) for line in line.values()} == dict.fromkeys(
            line.values(), 1000
        )
        for output in outputs:
            output.close()

    @pytest.mark.usefixtures("noticing")
    def test_the_end_waits_for_a_reader_only_so_long(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.start_writer()
        pipe.fill()
        for _ in range(10):
            output.write(b"stuck\n")
        started = time.monotonic()
        output.close(timeout=0.1)
        assert time.monotonic() - started < 10
        assert output.dropped == 10

    @pytest.mark.usefixtures("noticing")
    def test_the_end_does_not_wait_for_a_disk_to_be_cleared(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log", on_full="block")
        output.start_writer()
        with file_size_limit(3):
            output.write(b"first\n")
            output.close(timeout=0.1)
        assert output.dropped == 1

    def test_the_end_writes_what_is_there(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log")
        output.start_writer()
        output.start_writer()  # once is enough
        lines = [b"line %d\n" % number for number in range(1000)]
        for line in lines:
            output.write(line)
        output.close(timeout=30)
        assert (tmp_path / "log").read_bytes() == b"".join(lines)

    def test_a_descriptor_that_a_thread_hangs_on_is_left_alone(self, pipe: Pipe) -> None:
        release = threading.Event()

        class Disk(Destination):
            """Hangs where no signal reaches: like an NFS server that is gone."""

            def wait(self, seconds: float) -> bool:
                release.wait()
                return super().wait(seconds)

        output = LogOutput(Disk(os.dup(pipe.writer)))
        output.start_writer()
        output.write(b"line\n")
        output.write(b"queued\nbehind it\n")
        output.close(timeout=0.01)
        assert output.dropped == 3
        os.fstat(output.destination.fd)
        release.set()
        assert pipe.read() == b"line\n"
        output.destination.close()

    def test_another_writer_who_was_quicker_is_waited_for(self, pipe: Pipe) -> None:
        class Overtaken(Destination):
            """Says that there is room, and then there is none."""

            waits = 0

            def wait(self, seconds: float) -> bool:
                self.waits += 1
                return self.waits == 1 or super().wait(seconds)

        os.set_blocking(pipe.writer, False)
        pipe.fill()
        destination = Overtaken(os.dup(pipe.writer))
        output = LogOutput(destination)
        output.start_writer()
        output.write(b"patient\n")
        eventually(lambda: destination.waits > 1, "the second attempt")
        pipe.read()
        assert pipe.read_until(b"patient\n")
        assert output.dropped == 0
        output.close()

    def test_after_a_fork_the_buffer_and_the_thread_are_the_parents(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.start_writer()
        output.forked()
        output.write(b"from the child\n")
        assert pipe.read() == b"from the child\n"


class TestReopening:
    def test_no_line_is_lost_when_a_file_is_rotated(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        output = in_file(path)
        output.start_writer()
        lines = [b"%d\n" % number for number in range(20_000)]
        for number, line in enumerate(lines):
            output.write(line)
            if number % 4_000 == 0:
                path.rename(tmp_path / f"log.{number:05}")
                output.reopen()
        output.close(timeout=30)
        assert b"".join(part.read_bytes() for part in [*sorted(tmp_path.glob("log.*")), path]) == b"".join(lines)
        assert len(list(tmp_path.iterdir())) == 6

    def test_a_file_that_cannot_be_opened_again_is_kept_and_reported(self, tmp_path: Path) -> None:
        (tmp_path / "logs").mkdir()
        output = in_file(tmp_path / "logs" / "log")
        (tmp_path / "logs").rename(tmp_path / "moved")
        output.reopen()
        output.close()
        assert (tmp_path / "moved" / "log").read_bytes() == b"log file cannot be reopened \n"

    def test_a_new_file_does_not_begin_with_an_empty_line(self, tmp_path: Path) -> None:
        output = in_file(tmp_path / "log")
        with file_size_limit(3):
            output.write(b"torn line\n")
        (tmp_path / "log").rename(tmp_path / "log.1")
        output.reopen()
        output.write(b"next\n")
        output.close()
        assert (tmp_path / "log").read_bytes() == b"next\nlog lines dropped 1\n"

    def test_a_stream_has_nothing_to_reopen(self, pipe: Pipe) -> None:
        output = LogOutput(Destination.stream(pipe.writer))
        output.reopen()
        output.write(b"line\n")
        assert pipe.read() == b"line\n"
        output.close()


class TestProcesses:
    """What needs a process of its own."""

    def run(self, program: str) -> bytes:
        """Run a program that knows the names of this module's subject; return what it has written to its output."""
        begin = "import os, threading\nfrom appserver.telemetry.output import Destination, LogOutput\n"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", begin + program], stdout=subprocess.PIPE, check=True, timeout=30
        )
        return done.stdout

    def test_a_forked_child_writes_its_own_lines_and_none_of_its_parents(self) -> None:
        written = self.run("""
parent = os.getpid()
class Destination(Destination):
    def wait(self, seconds):
        if os.getpid() == parent:
            threading.Event().wait()  # as if nobody read
        return True
output = LogOutput(Destination(1))
output.start_writer()
output.write(b"parent\\n")
if os.fork() == 0:
    output.write(b"child\\n")
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
os._exit(0)
""")
        assert written == b"child\n"

    def test_a_program_that_ends_by_itself_has_written_everything(self) -> None:
        written = self.run("""
output = LogOutput(Destination.stream(1))
output.start_writer()
for number in range(1000):
    output.write(b"%d\\n" % number)
raise SystemExit
""")
        assert written == b"".join(b"%d\n" % number for number in range(1000))
