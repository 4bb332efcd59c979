"""The README and the sample files say what the program does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from appserver.settings import load
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_come_first() -> None:
    commands = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(commands) == 2
    assert "--config config/demo/server.toml" in commands[0]
    assert "pytest" in commands[1]
    assert README.index(commands[1]) < README.index("## ")


def test_the_demo_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the README says to start it
    loaded = load(Path("config/demo/server.toml"), environ={}, overrides=())
    assert loaded.settings.app.target == "example:app"
    assert (loaded.settings.app.directory / "example.py").exists()


def test_the_settings_in_the_readme_are_valid(tmp_path: Path) -> None:
    first, *others = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "server.toml"
    file.write_text(first)
    assert load(file, environ={}, overrides=()).settings.workers.count == 4
    (tmp_path / "pem").touch()
    for part in others:
        file.write_text(re.sub(r'"/etc/ssl/[^"]*"', f'"{tmp_path}/pem"', part))
        load(file, environ={"APPSERVER_APP__TARGET": "main:app"}, overrides=())


def test_the_five_minutes_with_fastapi_lead_there(tmp_path: Path) -> None:
    section = README.split("## FastAPI in five minutes\n")[1].split("\n## ")[0]
    [source] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    [settings] = re.findall(r"^    \[app\]\n(?:    .*\n|\n)*", section, re.MULTILINE)
    free = re.sub(r'"127\.0\.0\.1:\d+"', '"127.0.0.1:0"', textwrap.dedent(settings))
    server = Server(tmp_path, files={"main.py": source})
    server.write("server.toml", free)
    with server:
        assert json.loads(server.request().text) == {"message": "Hello, world!"}
        assert server.request("/docs").status == 200
        server.write("main.py", source.replace("Hello", "Goodbye"))
        command = [sys.executable, "-m", "appserver", "reload", "--config", "server.toml"]
        reloaded = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30, check=False
        )
        assert reloaded.returncode == 0
        assert json.loads(server.request().text) == {"message": "Goodbye, world!"}


def test_every_local_link_leads_somewhere() -> None:
    folders = ("tests", "appserver", "deploy")
    documents = [*ROOT.glob("*.md"), *(document for name in folders for document in (ROOT / name).rglob("*.md"))]
    for document in documents:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document}: {link}"
