"""The README, the guide and the sample files say what the program does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from appserver import __version__
from appserver.settings import load
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "deploy" / "GUIDE.md").read_text(encoding="utf-8")


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


def test_the_settings_in_the_guide_are_valid(tmp_path: Path) -> None:
    first, *others = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    file = tmp_path / "server.toml"
    file.write_text(first)
    assert load(file, environ={}, overrides=()).settings.workers.count == 4
    (tmp_path / "pem").touch()
    for part in others:
        file.write_text(re.sub(r'"/etc/ssl/[^"]*"', f'"{tmp_path}/pem"', part))
        load(file, environ={"APPSERVER_APP__TARGET": "main:app"}, overrides=())


def test_the_logging_configuration_in_the_guide_can_be_used(tmp_path: Path) -> None:
    [source] = [block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "LOGGING" in block]
    use = (
        "import logging, logging.config\n"
        "logging.config.dictConfig(LOGGING)\n"
        "logging.warning('sold')\n"
        "logging.getLogger('audit').warning('paid')\n"
    )
    command = [sys.executable, "-c", source + use]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["sold", "paid"]
    assert json.loads((tmp_path / "audit.log").read_text())["event"] == "paid"
    assert [line.split(" ", 2)[2] for line in (tmp_path / "errors.log").read_text().splitlines()] == [
        "WARNING - sold",
        "WARNING - paid",
    ]


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
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False
        )
        assert reloaded.returncode == 0
        assert json.loads(server.request().text) == {"message": "Goodbye, world!"}


def test_every_local_link_leads_somewhere() -> None:
    folders = (".github", "tests", "appserver", "deploy")
    documents = [*ROOT.glob("*.md"), *(document for name in folders for document in (ROOT / name).rglob("*.md"))]
    for document in documents:
        links = re.findall(r"\]\((?!https?://)([^)#]*)(#[^)]*)?\)", document.read_text(encoding="utf-8"))
        for path, anchor in links:
            there = document.parent / path if path else document
            assert there.exists(), f"{document}: {path}"
            assert not anchor or anchor[1:] in anchors(there), f"{document}: {path}{anchor}"


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_for_a_reader_in_a_hurry() -> None:
    assert len(README.splitlines()) <= 200, "what is longer belongs into deploy/GUIDE.md or deploy/OPERATIONS.md"


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "deploy" / "CHANGELOG.md").read_text(encoding="utf-8")
    [newest, *_] = re.findall(r"(?m)^## (\S+?),? ", changelog)
    assert newest == __version__


GITHUB = ROOT / ".github"
YAML = [*sorted(GITHUB.rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]


@pytest.mark.parametrize("file", YAML, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_there_for_github_is_valid(file: Path) -> None:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    if file.parent.name == "ISSUE_TEMPLATE" and file.name != "config.yml":
        assert {"name", "description", "body"} <= set(document)
        ids = [field["id"] for field in document["body"] if "id" in field]
        assert len(ids) == len(set(ids))


def test_the_workflow_calls_steps_that_there_are() -> None:
    listed = subprocess.run(["bash", ".ci/run", "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    steps = {line.split()[0] for line in listed.stdout.splitlines()}
    workflow = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    called = re.findall(r"bash \.ci/run(.*)", workflow)
    assert called
    assert {step for line in called for step in line.split()} <= steps


def test_paths_that_are_named_for_contributors_exist() -> None:
    for document in sorted(GITHUB.glob("*.md")):
        named = re.findall(r"`((?:tests|appserver|config|deploy|\.ci)/[\w./-]*)`", document.read_text(encoding="utf-8"))
        assert [path for path in named if not (ROOT / path).exists()] == [], document
