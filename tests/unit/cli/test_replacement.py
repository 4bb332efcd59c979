"""What a master is started with when it is started again in place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import appserver
from appserver.cli import main
from appserver.cli.replacement import WORDS, own_command
from appserver.master.upgrade import TAKE_OVER, TRY

PYTHON = "/venv/bin/python3"
MODULE = str(Path(appserver.__file__).with_name("__main__.py"))


@pytest.mark.parametrize(
    ("orig_argv", "argv", "program"),
    [
        (["python", "-m", "appserver", "a:b"], [MODULE, "a:b"], ("-m", "appserver")),
        (["python", "-P", "-X", "dev", "-m", "appserver"], [MODULE], ("-P", "-X", "dev", "-m", "appserver")),
        ([PYTHON, "/venv/bin/appserver", "a:b"], ["/venv/bin/appserver", "a:b"], ("/venv/bin/appserver",)),
        (
            ["python", "-m", "appserver", "take-over", "9", "a:b"],
            ["/x/m.py", "take-over", "9", "a:b"],
            ("-m", "appserver"),
        ),
        # It has called appserver.run, and would run the whole program once more.
        (["python", "-m", "shop"], ["/x/shop/__main__.py"], ("-m", "appserver")),
    ],
    ids=["module", "options of the interpreter", "console script", "for the second time", "another module"],
)
def test_the_program_is_what_stands_before_the_arguments(
    monkeypatch: pytest.MonkeyPatch, orig_argv: list[str], argv: list[str], program: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "executable", PYTHON)
    command = own_command(["a:b"])
    assert command("take-over", 7) == [PYTHON, *program, "take-over", "7", "a:b"]


def test_the_words_are_those_that_the_master_uses() -> None:
    assert set(WORDS) == {TAKE_OVER, TRY}


def test_nobody_is_told_of_the_words() -> None:
    done = subprocess.run([sys.executable, "-m", "appserver", "--help"], capture_output=True, text=True, check=True)
    assert "take-over" not in done.stdout


def test_a_state_that_makes_no_sense_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/null").open() as nothing:
        assert main(["take-over-check", str(nothing.fileno()), "a:b"]) == 1
    assert "what the running master hands over cannot be understood" in capfd.readouterr().err
