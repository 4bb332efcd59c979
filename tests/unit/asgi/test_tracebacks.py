"""appserver.asgi.tracebacks: the application's frames and nobody else's."""

from __future__ import annotations

import importlib
import sys
import traceback

import pytest

from appserver.asgi.target import Target
from appserver.asgi.tracebacks import application_frames, application_traceback, describe
from appserver.telemetry.record import full_traceback
from tests.unit.asgi.conftest import Project


def error_of_import(project: Project, module: str) -> BaseException:
    """Import a module that raises, and return what it raises."""
    sys.path.insert(0, str(project.directory))
    with pytest.raises(BaseException) as raised:  # noqa: PT011 what is raised is the subject of the test
        Target(module, ("app",)).load(project.directory)
    assert raised.value.__cause__ is not None
    return raised.value.__cause__


def test_frames_of_importlib_and_of_appserver_are_left_out(project: Project) -> None:
    outer = project.write("outer.py", "import importlib\nimportlib.import_module('inner')\n")
    inner = project.write("inner.py", "def fail():\n    raise ValueError('no')\n\nfail()\n")
    error = error_of_import(project, "outer")
    frames = application_frames(error)
    assert [(frame.filename, frame.lineno, frame.name) for frame in frames] == [
        (str(outer), 2, "<module>"),
        (str(inner), 4, "<module>"),
        (str(inner), 2, "fail"),
    ]
    text = application_traceback(error)
    assert text.startswith("Traceback (most recent call last):\n  File ")
    assert text.endswith("ValueError: no")
    assert importlib.__file__ not in text
    assert "appserver/asgi" not in text


def test_causes_and_contexts_and_groups_are_cleaned_too(project: Project) -> None:
    project.write(
        "main.py",
        """
        import importlib
        try:
            importlib.import_module("broken")
        except ValueError as error:
            raise ExceptionGroup("several", [error]) from error
        """,
    )
    project.write("broken.py", "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('no')\n")
    text = application_traceback(error_of_import(project, "main"))
    assert "ZeroDivisionError" in text
    assert "ExceptionGroup: several" in text
    assert "importlib" not in text.replace("importlib.import_module", "")


def test_a_syntax_error_is_shown_as_python_shows_it_in_a_script(project: Project) -> None:
    path = project.write("main.py", "x = 1\ndef broken(:\n")
    text = application_traceback(error_of_import(project, "main"))
    assert text.startswith(f'  File "{path}", line 2\n    def broken(:\n')
    assert text.endswith("SyntaxError: invalid syntax")


def test_an_error_is_described_in_one_line() -> None:
    assert describe(ValueError("first\nsecond")) == "ValueError: first"
    assert describe(KeyError("name")) == "KeyError: 'name'"
    assert describe(RuntimeError()) == "RuntimeError"
    with pytest.raises(SyntaxError) as raised:
        compile("def broken(:", "main.py", "exec")
    assert describe(raised.value) == "SyntaxError: invalid syntax"


def test_an_error_that_cannot_be_printed_is_described_all_the_same() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("never")

    assert "Broken" in describe(Broken())


class Unreadable(SyntaxError):
    """An error about which the interpreter cannot find out what it wants to show."""

    @property
    def lineno(self) -> int:  # type: ignore[override]
        raise PermissionError("the directory of the module")


def test_an_error_is_shown_although_the_interpreter_fails_to_find_out_about_it() -> None:
    with pytest.raises(PermissionError):
        traceback.TracebackException.from_exception(Unreadable())
    with pytest.raises(ValueError, match="wrong") as raised:  # noqa: PT012 - what it is raised in belongs to it
        try:
            raise Unreadable("missing") from KeyError("key")
        except Unreadable as error:
            error.add_note("look there")
            raise ValueError("wrong") from error
    text = full_traceback(raised.value)
    assert [frame.name for frame in application_frames(raised.value)] == [sys._getframe().f_code.co_name]
    first, second, third = text.split("\n\nThe above exception was the direct cause of the following exception:\n\n")
    assert first == "KeyError: 'key'"
    assert second.endswith(f"{__name__}.Unreadable: missing\nlook there")
    assert "in test_an_error_is_shown_although" in second
    assert third.endswith("ValueError: wrong")
    assert describe(Unreadable("missing")) == f"{__name__}.Unreadable: missing"
