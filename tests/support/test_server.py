"""The server that tests start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import processes
from tests.support.server import ROOT, Log
from tests.support.waiting import eventually

TESTS = """
import sys
from pathlib import Path
from tests.support.server import Server

with Server(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def test_it_does_not_outlive_tests_that_are_killed(tmp_path: Path) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", TESTS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert tests.stdin is not None
    assert tests.stdout is not None
    with tests, tests.stdin, tests.stdout:
        server = int(tests.stdout.readline())
        assert processes.in_session(server)
        tests.kill()
        tests.wait()
        eventually(lambda: not processes.in_session(server), "the server has ended")


def test_its_log_has_what_was_written_before_the_look() -> None:
    reading, writing = os.pipe()
    log = Log(os.fdopen(reading, "rb"), "log")
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        for number in range(2000):
            pipe.write(b'{"event": "written", "number": %d}\nplain\n{"event"' % number)
            assert log.records[-1] == {"event": "written", "number": number}
            pipe.write(b': "half"}\n')
        assert len(log.matching("half")) == 2000
        assert log.lines.count("plain") == 2000
        pipe.write(b"the last line has no end")
    assert log.lines[-1] == "the last line has no end"
    log.join(5)
