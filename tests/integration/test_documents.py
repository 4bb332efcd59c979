"""The README and the sample files say what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appserver.settings import load

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


def test_every_local_link_leads_somewhere() -> None:
    folders = ("tests", "appserver", "deploy")
    documents = [*ROOT.glob("*.md"), *(document for name in folders for document in (ROOT / name).rglob("*.md"))]
    for document in documents:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document}: {link}"
