"""`appserver init`: a settings file for the application that is found."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserver.cli import main
from appserver.settings import load

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI(title='x')\n"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("files", "target", "kind"),
    [
        ({"main.py": FASTAPI}, "main:app", "FastAPI"),
        ({"shop/__init__.py": "", "shop/web/app.py": "import starlette\nsite: object = starlette.Starlette()"}, None, None),
        ({"shop/asgi.py": "application = get_asgi_application()", "shop/wsgi.py": "application = get_wsgi_application()"},
         "shop.asgi:application", "Django"),
        ({"example.py": "async def app(scope, receive, send):\n    pass\n"}, "example:app", "ASGI"),
        ({"shop/__init__.py": "app = Flask(__name__)"}, "shop:app", "Flask"),
        ({"main.py": "def create_app(debug=False):\n    return 1\n"}, "main:create_app", "a factory"),
        ({"tool.py": FASTAPI, "main.py": FASTAPI, "api/main.py": FASTAPI}, "main:app", "FastAPI"),
    ],
)  # fmt: skip
def test_the_application_is_found_in_the_source(
    files: dict[str, str], target: str | None, kind: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    target, kind = target or "shop.web.app:site", kind or "Starlette"
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"server.toml: written for {target} ({kind})\n")
    assert "run it:   appserver\n" in said
    settings = load(Path("server.toml"), environ={}).settings
    assert (settings.app.target, settings.app.factory) == (target, kind == "a factory")
    assert settings.workers.preload


def test_what_was_found_as_well_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.py").write_text(FASTAPI)
    Path("other.py").write_text(FASTAPI)
    assert main(["init"]) == 0
    assert "found as well: other:app\n" in capsys.readouterr().out


def test_nothing_of_the_application_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.py").write_text(f"{FASTAPI}\nopen('trace', 'w')\n")
    Path("broken.py").write_text("def\n")
    assert main(["init"]) == 0
    assert not Path("trace").exists()


def test_a_directory_that_may_not_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("main.py").write_text(FASTAPI)
    Path("private").mkdir()
    scan = os.scandir

    def refuse(directory: Path) -> Iterator[os.DirEntry[str]]:
        if Path(directory).name == "private":
            raise PermissionError(13, "Permission denied")
        return scan(directory)

    monkeypatch.setattr("os.scandir", refuse)
    assert main(["init"]) == 0


def test_what_is_no_application_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", 'a:b"']) == 2
    assert 'expected module:attribute, such as "package.module:app"' in capsys.readouterr().err
    assert not Path("server.toml").exists()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_directory_is_not_replaced(force: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf").mkdir()
    assert main(["init", "a:b", "--output", "conf", *force]) == 2
    assert capsys.readouterr().err == "appserver: conf is a directory; expected the path of a file\n"


def test_the_file_may_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "a:b", "--output", "-"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["app"] == {"target": "a:b"}
    assert list(Path().iterdir()) == []


def test_tests_tools_and_functions_with_arguments_are_none() -> None:
    for name in ("tests/app.py", ".venv/app.py", "node_modules/app.py", "not-a-module.py", "deep/er/than/that.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(FASTAPI)
    Path("main.py").write_text("def create_app(config): ...\nasync def app(request): ...\nx = FastAPI\n")
    assert main(["init"]) == 2
    assert not Path("server.toml").exists()


def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("server.toml").write_text("mine")
    assert main(["init", "a:b"]) == 2
    assert capsys.readouterr().err == "appserver: server.toml is there already; --force replaces it\n"
    assert Path("server.toml").read_text() == "mine"
    assert main(["init", "a:b", "--force"]) == 0
    assert load(Path("server.toml"), environ={}).settings.app.target == "a:b"
    assert main(["init", "a:b", "--output", "conf/x.toml"]) == 2
    assert main(["init", "a:b", "--output", "x.toml"]) == 0
    assert "appserver --config x.toml\n" in capsys.readouterr().out
