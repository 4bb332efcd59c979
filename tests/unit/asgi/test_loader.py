"""appserver.asgi.loader: from the settings to one callable of ASGI 3.0, whatever they name."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appserver.asgi.loader import adapt_application, load_application
from appserver.asgi.trio import TrioAdapter
from appserver.asgi.types import ASGIApplication, Message
from appserver.asgi.wsgi import WSGIAdapter
from appserver.distribution import how_to_install
from appserver.errors import ApplicationImportError
from appserver.settings import AppSettings
from tests.unit.asgi.conftest import Project

ASGI3 = """
async def app(scope, receive, send):
    await send({"type": "asgi3"})
"""
ASGI3_AWAITABLE = """
async def answer(send):
    await send({"type": "asgi3"})

def app(scope, receive, send):
    return answer(send)
"""
ASGI3_ENDPOINT = """
class app:
    def __init__(self, scope, receive, send):
        self.send = send

    def __await__(self):
        return self.send({"type": "asgi3"}).__await__()
"""
ASGI2 = """
def app(scope):
    async def instance(receive, send):
        await send({"type": "asgi" + scope["asgi"]["version"]})
    return instance
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]
"""


def settings(project: Project, target: str = "main:app", **fields: Any) -> AppSettings:
    return AppSettings(target=target, directory=project.directory, **fields)


def load(project: Project, **fields: Any) -> ASGIApplication:
    return load_application(settings(project, **fields))


def failure(project: Project, **fields: Any) -> list[str]:
    """Return the lines of the message that loading ends with, without the prefix that names the target."""
    before = sys.path.copy()
    with pytest.raises(ApplicationImportError) as raised:
        load(project, **fields)
    assert sys.path == before, "a failure leaves sys.path changed"
    text = str(raised.value).partition('": ')[2]
    return [line.strip() for line in text.splitlines()]


def answers(application: ASGIApplication) -> list[Message]:
    """Call an application for a request without a body and return what it sends."""
    sent: list[Message] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        coroutine = application(scope, receive, send)
        assert inspect.iscoroutine(coroutine), "a task cannot be made of this"
        await coroutine

    asyncio.run(main())
    return sent


class TestAnApplication:
    @pytest.mark.parametrize(
        ("code", "answer"),
        [(ASGI3, "asgi3"), (ASGI3_AWAITABLE, "asgi3"), (ASGI3_ENDPOINT, "asgi3"), (ASGI2, "asgi2.0")],
    )
    def test_of_any_interface_is_called_the_same(self, project: Project, code: str, answer: str) -> None:
        project.write("main.py", code)
        assert answers(load(project)) == [{"type": answer}]

    def test_of_wsgi_is_adapted(self, project: Project) -> None:
        project.write("main.py", WSGI)
        bodies = [message.get("body", b"") for message in answers(load(project))]
        assert b"".join(bodies) == b"wsgi"

    def test_of_asgi_3_is_not_wrapped(self, project: Project) -> None:
        project.write("main.py", ASGI3)
        assert load(project) is sys.modules["main"].app

    @pytest.mark.parametrize("interface", ["asgi3", "asgi2", "wsgi"])
    def test_whose_interface_cannot_be_told_is_taken_for_what_the_settings_say(
        self, project: Project, interface: str
    ) -> None:
        code = {"asgi3": ASGI3_AWAITABLE, "asgi2": ASGI2, "wsgi": WSGI}[interface]
        project.write("main.py", f"{code}\nknown = app\ndef app(*args): return known(*args)\n")
        assert answers(load(project, interface=interface))

    def test_finds_its_other_modules_while_it_runs(self, project: Project) -> None:
        project.write(
            "main.py", "async def app(scope, receive, send):\n    import later\n    await send(later.MESSAGE)\n"
        )
        project.write("later.py", "MESSAGE = {'type': 'late'}")
        assert answers(load(project)) == [{"type": "late"}]
        assert sys.path[0] == str(project.directory)

    def test_of_the_directory_comes_before_one_of_the_same_name_elsewhere(self, project: Project) -> None:
        project.write("other/main.py", "app = None")
        project.write("main.py", ASGI3)
        sys.path.insert(0, str(project.directory / "other"))
        load(project)
        assert sys.modules["main"].__file__ == str(project.directory / "main.py")

    def test_is_imported_through_a_link_that_stays_one(self, project: Project) -> None:
        project.write("release/main.py", ASGI3)
        link = project.directory / "current"
        link.symlink_to("release")
        load_application(AppSettings(target="main:app", directory=link))
        assert sys.path[0] == str(link)

    def test_cannot_lie_in_a_current_directory_that_is_gone(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = project.directory / "release"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        with pytest.raises(ApplicationImportError, match="relative to the current directory, which has been removed"):
            load_application(AppSettings.model_construct(target="main:app", directory=Path()))

    def test_may_lie_in_a_directory_given_relative_to_the_current_one(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.write("src/main.py", ASGI3)
        monkeypatch.chdir(project.directory)
        load_application(AppSettings(target="main:app", directory=Path("src")))
        assert sys.path[0] == str(project.directory / "src")


class TestAFactory:
    def test_makes_the_application(self, project: Project) -> None:
        project.write("main.py", f"def create(config=None):\n    return app\n{ASGI3}")
        assert answers(load(project, target="main:create", factory=True)) == [{"type": "asgi3"}]

    def test_may_be_a_class(self, project: Project) -> None:
        project.write(
            "main.py",
            """
            class App:
                async def __call__(self, scope, receive, send):
                    await send({"type": "instance"})
            """,
        )
        assert answers(load(project, target="main:App", factory=True)) == [{"type": "instance"}]

    def test_may_make_a_wsgi_application(self, project: Project) -> None:
        project.write("main.py", f"def create():\n    return app\n{WSGI}")
        assert answers(load(project, target="main:create", factory=True))

    def test_that_was_not_called_one_is_recognised(self, project: Project) -> None:
        project.write("main.py", "def app(): ...")
        assert failure(project) == [
            "this takes no arguments, like a factory: set app.factory = true (--factory) if it is one"
        ]

    def test_that_was_not_called_one_is_recognised_by_its_options(self, project: Project) -> None:
        project.write("main.py", "def app(config=None): ...")
        assert failure(project)[-1] == "or app.factory = true (--factory) if it makes the application"

    def test_that_is_an_application_is_recognised(self, project: Project) -> None:
        for code in (ASGI3, ASGI2, WSGI):
            project.write("main.py", code)
            assert failure(project, factory=True) == ["this is an application, not a factory: set app.factory = false"]
            sys.modules.pop("main")

    def test_that_is_async_is_refused(self, project: Project) -> None:
        project.write("main.py", "async def app(): ...")
        problem, advice = failure(project, factory=True)
        assert problem.startswith("the factory is an async function")
        assert advice.startswith("make it a plain function")

    def test_that_returns_a_coroutine_is_refused(self, project: Project) -> None:
        project.write("main.py", "async def make(): ...\n\ndef app():\n    return make()\n")
        assert failure(project, factory=True) == ["the factory returns a coroutine, which is not an application"]

    def test_that_returns_nothing_is_refused(self, project: Project) -> None:
        project.write("main.py", "def app(): ...")
        assert failure(project, factory=True) == ["the factory returns a NoneType, which is not an application"]

    def test_that_needs_arguments_is_refused(self, project: Project) -> None:
        project.write("main.py", "def app(config): ...")
        assert failure(project, factory=True) == [
            "the factory raises TypeError: app() missing 1 required positional argument: 'config'"
        ]

    def test_that_is_no_function_is_refused(self, project: Project) -> None:
        project.write("main.py", "app = {}")
        assert failure(project, factory=True) == ["app.factory is set, but this is a dict, not a function"]

    @pytest.mark.parametrize("error", ["ValueError('no')", "SystemExit(1)", "KeyboardInterrupt()"])
    def test_that_raises_is_reported_with_its_own_traceback(self, project: Project, error: str) -> None:
        main = project.write("main.py", f"def app():\n    raise {error}\n")
        with pytest.raises(ApplicationImportError, match="the factory raises") as raised:
            load(project, factory=True)
        assert f'File "{main}", line 2, in app' in raised.value.traceback
        assert "appserver/asgi" not in raised.value.traceback


class TestWhatIsNoApplication:
    def test_because_it_cannot_be_called(self, project: Project) -> None:
        project.write("main.py", "app = 'text'")
        assert failure(project) == ["this is a str, not an application: it cannot be called"]

    def test_because_it_is_a_module(self, project: Project) -> None:
        project.write("pkg/__init__.py", "import pkg.app")
        project.write("pkg/app.py", ASGI3)
        assert failure(project, target="pkg:app") == [
            "this is a module, not an application",
            'did you mean "pkg.app:app"?',
        ]

    def test_because_it_is_async_and_takes_something_else(self, project: Project) -> None:
        project.write("main.py", "async def app(request): ...")
        assert failure(project)[0] == "this is async, but does not take (scope, receive, send)"

    def test_because_it_is_the_class_of_applications(self, project: Project) -> None:
        call = "    async def __call__(self, scope, receive, send): ...\n"
        project.write("main.py", f"class app:\n{call}")
        assert failure(project) == [
            "this is a class; its instances are applications: set app.factory = true (--factory)"
        ]
        project.write("other.py", f"class app:\n    def __init__(self, config): ...\n{call}")
        assert failure(project, target="other:app") == [
            "this is a class; its instances are applications: name one of these"
        ]

    def test_because_it_could_be_several_things(self, project: Project) -> None:
        project.write("main.py", "def app(a, b, c=None): ...")
        problem, advice = failure(project)
        assert problem == "it cannot be told from its signature what kind of application this is"
        assert advice.startswith('set app.interface = "asgi3" (scope, receive, send)')


class TestAnApplicationThatIsThere:
    def test_is_adapted_itself_or_made_by_its_factory(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [environ["PATH_INFO"].encode()]

        assert isinstance(adapt_application(application, AppSettings(target="the:application")), WSGIAdapter)
        with_factory = AppSettings(target="the:application", factory=True)
        assert isinstance(adapt_application(lambda: application, with_factory), WSGIAdapter)

    def test_without_a_factory_that_is_one_is_refused(self) -> None:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError

        with pytest.raises(ApplicationImportError, match=r"an application, not a factory: set app\.factory = false"):
            adapt_application(application, AppSettings(target="the:application", factory=True))


class TestADirectory:
    def test_that_does_not_exist_is_reported(self, project: Project) -> None:
        missing = project.directory / "missing"
        with pytest.raises(ApplicationImportError, match="is no directory that uid"):
            load_application(AppSettings(target="main:app", directory=missing))
        assert str(missing) not in sys.path

    def test_that_may_not_be_read_is_reported(self, project: Project) -> None:
        project.write("main.py", ASGI3)
        # In a process of its own: what a process may read is lost for good with its user.
        project.directory.chmod(0o700)
        program = """
            import os, sys
            from appserver.asgi.loader import load_application
            from appserver.errors import ApplicationImportError
            from appserver.settings import AppSettings
            if os.getuid() == 0:
                os.setresuid(12345, 12345, 12345)
            else:
                os.chmod(sys.argv[1], 0)
            try:
                load_application(AppSettings(target="main:app", directory=sys.argv[1]))
            except ApplicationImportError as error:
                print(error)
        """
        try:
            shown = in_a_fresh_interpreter(program, str(project.directory))
        finally:
            project.directory.chmod(0o700)
        assert f"is no directory that uid {12345 if os.getuid() == 0 else os.getuid()} may read" in shown


def in_a_fresh_interpreter(program: str, *arguments: str) -> str:
    """Run a program and return what it prints."""
    command = [sys.executable, "-c", inspect.cleandoc(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestUnderTrio:
    def test_an_application_of_asgi_is_adapted(self, project: Project) -> None:
        for code in (ASGI3, ASGI3_AWAITABLE, ASGI3_ENDPOINT, ASGI2):
            project.write("main.py", code)
            assert isinstance(load(project, async_library="trio"), TrioAdapter)
            sys.modules.pop("main")

    def test_one_of_wsgi_is_refused(self, project: Project) -> None:
        project.write("main.py", WSGI)
        with pytest.raises(ApplicationImportError, match="does not run under trio"):
            load(project, async_library="trio")

    def test_trio_that_cannot_be_imported_is_reported(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        project.write("main.py", ASGI3)
        for name in [name for name in sys.modules if name.startswith("appserver.asgi.trio.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "trio", None)
        with pytest.raises(ApplicationImportError, match=re.escape(how_to_install("trio"))):
            load(project, async_library="trio")
