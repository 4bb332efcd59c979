"""What somebody sees who does as the README says, in a terminal of 80 columns and 24 lines; and the example of uvicorn's README."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.terminal import Terminal
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("APPSERVER_", "PYTHON", "COV"))},
    "TERM": "xterm-256color",
    "APPSERVER_LISTENERS": '[{"bind": "127.0.0.1:0"}]',  # instead of port 8000, which may be somebody else's
    "APPSERVER_ADMIN__BIND": "",
    "APPSERVER_WORKERS__STALL_REPORT": "0",  # on a busy machine the reports of a slow boot would be shown
}

UVICORNS_EXAMPLE = """
async def app(scope, receive, send):
    assert scope['type'] == 'http'

    await send({
        'type': 'http.response.start',
        'status': 200,
        'headers': [
            (b'content-type', b'text/plain'),
            (b'content-length', b'13'),
        ],
    })
    await send({
        'type': 'http.response.body',
        'body': b'Hello, world!',
    })
"""


def five_minutes() -> tuple[list[str], str, str, list[str]]:
    """Return what the README has: the commands that install, the application, the settings, the commands that follow."""
    section = README.split("## FastAPI in five minutes\n")[1].split("\n## ")[0]
    [application] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    install, settings, commands = (
        textwrap.dedent(block)
        for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", section.replace(application, ""), re.MULTILINE)
    )
    return install.splitlines(), application, settings, commands.splitlines()


def run(command: str, directory: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def get(shown: str, path: str = "/") -> str:
    url = re.findall(r"serving (http://\S+)", shown)[-1]
    with urllib.request.urlopen(url + path, timeout=30) as response:
        return str(response.read().decode())


def fits(terminal: Terminal) -> None:
    """No line is wider than the terminal, but for the paths of this test."""
    assert [line for line in terminal.shown.splitlines() if len(line) > 80 and "/pytest-" not in line] == []


@pytest.mark.timeout(300)
def test_the_five_minutes_of_the_readme(tmp_path: Path) -> None:
    install, application, settings, commands = five_minutes()
    assert [command.split("#")[0].split()[0:2] for command in commands] == [
        [".venv/bin/appserver", "check"],
        [".venv/bin/appserver", "--config"],
        [".venv/bin/appserver", "status"],
        [".venv/bin/appserver", "reload"],
    ]
    check, serve, status, reload = commands
    for command in install:
        done = run(command.replace("~/appserver", str(ROOT)), tmp_path, timeout=240)
        assert done.returncode == 0, done.stderr
    (tmp_path / "main.py").write_text(application)

    [first] = re.findall(r"Try it: `(.*?)`", README)
    with Terminal(first.split(), tmp_path, ENVIRONMENT) as terminal:
        terminal.wait_for("serving http://127.0.0.1:")
        lines = terminal.shown.splitlines()
        assert [line[21:].split(",")[0].split(" http")[0] for line in lines] == ["starting main:app", "serving"]
        assert get(terminal.shown) == '{"message":"Hello, world!"}'
        assert "swagger" in get(terminal.shown, "/docs")
        terminal.wait_for("200  GET  /docs")
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 0
        assert terminal.shown.splitlines()[-1].endswith("stopped")
        fits(terminal)

    (tmp_path / "server.toml").write_text(settings)
    checked = run(check, tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.endswith("the application can be imported: main:app\n")
    with Terminal(serve.split(), tmp_path, ENVIRONMENT) as terminal:
        terminal.wait_for("serving http://127.0.0.1:")
        assert "settings of server.toml" in terminal.shown
        assert run(status, tmp_path).stdout.startswith("appserver 0.")
        (tmp_path / "main.py").write_text(application.replace("Hello", "Goodbye, dear"))
        before = len(terminal.shown)
        assert run(reload, tmp_path).returncode == 0
        terminal.wait_for("generation 2 serves")
        assert len(terminal.shown[before:].splitlines()) == 1  # what somebody has done has one line
        assert "Goodbye" in get(terminal.shown)
        (tmp_path / "main.py").write_text(application.replace("async def", "asyn def"))
        refused = run(reload, tmp_path)
        assert (refused.returncode, refused.stderr.split(":")[:2]) == (1, ["appserver", " reload rolled back"])
        terminal.wait_for("SyntaxError: invalid syntax", count=2)
        assert "Goodbye" in get(terminal.shown)
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 0
        fits(terminal)


@pytest.mark.parametrize("preload", ["true", "false"])
def test_an_error_of_the_boot_is_the_last_thing_on_the_screen(tmp_path: Path, preload: str) -> None:
    (tmp_path / "main.py").write_text("import nowhere\n")
    command = [sys.executable, "-m", "appserver", "main:app", "--workers", "2", "--set", f"workers.preload={preload}"]
    with Terminal(command, tmp_path, {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}) as terminal:
        assert terminal.wait_for_exit() == 4
        eventually(lambda: "ModuleNotFoundError" in terminal.shown, "the error is shown")
        *_, last = terminal.shown.splitlines()
        assert last.strip() == "ModuleNotFoundError: No module named 'nowhere'"
        assert len(terminal.shown.splitlines()) <= 24
        fits(terminal)


@pytest.mark.parametrize(
    "command",
    [
        [str(Path(sys.executable).parent / "appserver"), "example:app"],
        [sys.executable, "-m", "appserver", "example:app"],
        [sys.executable, "-c", "import appserver; appserver.run('example:app', bind='127.0.0.1:0')"],
        [sys.executable, "-c", "import appserver, example; appserver.run(example.app, bind='127.0.0.1:0')"],
    ],
    ids=["appserver", "python -m appserver", "appserver.run by name", "appserver.run"],
)
def test_the_example_of_uvicorns_readme(tmp_path: Path, command: Sequence[str]) -> None:
    (tmp_path / "example.py").write_text(UVICORNS_EXAMPLE)
    with Terminal(command, tmp_path, {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}:{tmp_path}"}) as terminal:
        terminal.wait_for("serving http://127.0.0.1:")
        assert get(terminal.shown) == "Hello, world!"
        os.kill(terminal.pid, signal.SIGINT)
        assert terminal.wait_for_exit() == 0
        assert "Traceback" not in terminal.shown
        fits(terminal)
