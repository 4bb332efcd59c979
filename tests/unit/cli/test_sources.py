"""What development watches, with the real library and real files."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from appserver.cli import sources
from appserver.cli.sources import Sources, require_watchfiles, watch_sources
from appserver.distribution import how_to_install
from appserver.errors import SettingsError, UsageError
from appserver.settings import Loaded, Settings
from tests.support.waiting import eventually


class Changes:
    """What a watch has reported, each change the names of its files; collected by a thread."""

    def __init__(self, sources: Sources, sentinel: Path) -> None:
        self.found: list[set[str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._collect, args=(sources,))
        self._thread.start()
        self._sentinel = sentinel
        self.mark()

    def _collect(self, sources: Sources) -> None:
        for names in sources.changes(self._stop):
            self.found.append({Path(path).name for path in names})

    def mark(self) -> list[set[str]]:
        """Change the sentinel until that is reported; returns what has been reported before, without the sentinel."""
        before = len(self.found)

        def seen() -> bool:
            self._sentinel.write_text(self._sentinel.read_text() + "#" if self._sentinel.exists() else "#")
            return any(self._sentinel.name in names for names in self.found[before:])

        eventually(seen, "the sentinel is seen", interval=0.3)
        reported = [names - {self._sentinel.name} for names in self.found]
        return [names for names in reported if names]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def loaded(directory: Path, dev: Mapping[str, Any] | None = None, path: Path | None = None) -> Loaded:
    app = {"target": "main:app", "directory": str(directory)}
    return Loaded(Settings.model_validate({"app": app, "dev": dict(dev or {})}), {}, (path,) if path else ())


@contextmanager
def watching(settings: Loaded, sentinel: Path) -> Iterator[Changes]:
    changes = Changes(Sources.of(settings), sentinel)
    try:
        yield changes
    finally:
        changes.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def test_code_and_templates_count_and_data_does_not(project: Path) -> None:
    (project / "templates").mkdir()
    with watching(loaded(project), project / "sentinel.py") as changes:
        for ignored in ("shop.db", "access.log", "shop.pyc", "core"):
            (project / ignored).write_text("x")
        (project / "templates" / "page.html").write_text("x")
        (project / "shop.py").write_text("x")
        assert set().union(*changes.mark()) == {"page.html", "shop.py"}


def test_several_saves_at_once_are_one_change(project: Path) -> None:
    with watching(loaded(project), project / "sentinel.py") as changes:

        def save_all() -> bool:
            before = len(changes.mark())
            for name in ("a.py", "b.py", "c.html"):
                (project / name).write_text("x")
            return changes.mark()[before:] == [{"a.py", "b.py", "c.html"}]

        eventually(save_all, "three saves without a pause are one change")


def test_directories_of_tools_do_not_count_wherever_the_project_itself_lies(tmp_path: Path) -> None:
    project = tmp_path / "node_modules" / "project"
    for folder in (".git", "__pycache__", ".venv", "venv", "node_modules", "lib/site-packages", "uploads"):
        (project / folder).mkdir(parents=True)
    with watching(loaded(project, {"ignore": ["uploads", "*.gen.py"]}), project / "sentinel.py") as changes:
        for folder in (".git", "__pycache__", ".venv", "venv", "node_modules", "lib/site-packages", "uploads"):
            (project / folder / "x.py").write_text("x")
        (project / "model.gen.py").write_text("x")
        (project / "mine.py").write_text("x")
        assert changes.mark() == [{"mine.py"}]


def test_patterns_are_the_names_that_count(project: Path) -> None:
    with watching(loaded(project, {"patterns": ["*.txt", "sentinel"]}), project / "sentinel") as changes:
        (project / "a.py").write_text("x")
        (project / "a.txt").write_text("x")
        assert changes.mark() == [{"a.txt"}]


def test_further_directories_and_files_are_watched(project: Path, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    file = tmp_path / "prices.csv"
    file.touch()
    watch = [str(tmp_path / "library"), str(file)]
    with watching(loaded(project, {"watch": watch}), project / "sentinel.py") as changes:
        (tmp_path / "library" / "a.py").write_text("x")
        file.write_text("x")
        (tmp_path / "other.csv").write_text("x")
        changes.mark()
        eventually(lambda: set().union(*changes.mark()) == {"a.py", "prices.csv"}, "both are seen")


def test_a_settings_file_elsewhere_is_seen_when_an_editor_replaces_it_again_and_again(
    project: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "server.toml"
    settings.touch()
    with watching(loaded(project, path=settings), project / "sentinel.py") as changes:
        for count in (1, 2):
            (tmp_path / "server.toml.new").write_text("x" * count)
            (tmp_path / "server.toml.new").replace(settings)
            eventually(
                lambda expected=count: list(changes.mark()).count({"server.toml"}) == expected,  # type: ignore[misc]
                f"replacement {count} is seen",
            )


def test_what_dev_watch_names_has_to_exist(project: Path) -> None:
    with pytest.raises(SettingsError, match="no such file or directory"):
        Sources.of(loaded(project, {"watch": ["nowhere"]}))


def test_what_is_watched_follows_the_settings(project: Path, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    current = loaded(project)
    seen: list[str] = []
    watch_sources(current, lambda: current, seen.extend)

    def save(path: Path) -> bool:
        path.write_text(path.read_text() + "#" if path.exists() else "#")
        return str(path) in seen

    eventually(lambda: save(project / "a.py"), "the project is watched", interval=0.3)
    current = loaded(project, {"watch": [str(tmp_path / "library")]})
    save(project / "a.py")
    eventually(lambda: save(tmp_path / "library" / "b.py"), "the library is watched, too", interval=0.3)


def test_without_the_library_the_message_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)  # as if it was not installed
    with pytest.raises(UsageError) as caught:
        require_watchfiles("appserver dev")
    assert str(caught.value) == (f"appserver dev needs watchfiles, which is not installed: {how_to_install('watch')}")


def test_what_cannot_be_watched_is_said_once_and_tried_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = threading.Semaphore(0)
    asked: list[int] = []
    records: list[dict[str, object]] = []

    class Log:
        def error(self, event: str, **fields: object) -> None:
            records.append({"event": event, **fields})

    def watch(*_paths: Path, **_options: object) -> Iterator[set[tuple[watchfiles.Change, str]]]:
        attempts.release()
        asked.append(1)
        if len(asked) > 5:
            threading.Event().wait()
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watchfiles, "watch", watch)
    monkeypatch.setattr(sources, "get_logger", lambda _: Log())
    monkeypatch.setattr(sources, "_PAUSE", 0.01)
    settings = loaded(project)
    watch_sources(settings, lambda: settings, lambda _: None)
    for _ in range(5):
        assert attempts.acquire(timeout=30)
    assert [(record["event"], record["reason"]) for record in records] == [
        ("files cannot be watched", "OS file watch limit reached.")
    ]
