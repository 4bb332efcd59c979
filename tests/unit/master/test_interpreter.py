"""Which options of the interpreter are passed on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from appserver.master.interpreter import options


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("-m appserver app:app", []),
        ("-O -m appserver -X dev", ["-O"]),
        ("-OO -m appserver", ["-O", "-O"]),
        ("-OBm appserver -W error", ["-O", "-B"]),
        ("-X dev -Xutf8 -W error::DeprecationWarning -Wdefault -m appserver", [
            "-Xdev", "-Xutf8", "-Werror::DeprecationWarning", "-Wdefault",
        ]),
        ("-bX importtime -m appserver", ["-b", "-Ximporttime"]),
        ("-u -E -s -P -I -m appserver", ["-u", "-E", "-s", "-P", "-I"]),
        ("-i -x -O script.py -B", ["-O"]),
        ("--check-hash-based-pycs never -O bin/appserver app:app", ["--check-hash-based-pycs", "never", "-O"]),
        ("-c pass -O", []),
        ("- -O", []),
        ("-O", ["-O"]),
        ("-X", ["-X"]),
        ("", []),
    ],
)  # fmt: skip
def test_what_stands_before_the_program(command: str, expected: list[str]) -> None:
    assert options(["python", *command.split()]) == expected


def test_they_mean_the_same_when_they_are_repeated() -> None:
    given = ["-O", "-B", "-X", "dev", "-X", "int_max_str_digits=5000", "-W", "error::DeprecationWarning", "-bb"]
    program = "import sys; print(sys.flags, sorted(sys._xoptions.items()), sys.warnoptions)"
    first, second = (
        subprocess.run([sys.executable, *found, "-c", program], capture_output=True, text=True, check=True).stdout
        for found in (given, options([sys.executable, *given, "-c", program]))
    )
    assert first == second
