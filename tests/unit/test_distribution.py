"""The name of the distribution, which hints about extras are made from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from appserver import distribution

ROOT = Path(__file__).parents[2]


def install(site: Path, name: str, entry_point: str, source: dict[str, Any] | None = None) -> None:
    """Leave behind what pip leaves of a distribution with a command `appserver`; `source` as in PEP 610."""
    folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[console_scripts]\nappserver = {entry_point}\n")
    if source is not None:
        (folder / "direct_url.json").write_text(json.dumps(source))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be an environment with nothing in it."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    return tmp_path


def test_a_hint_names_the_distribution_that_is_installed(site: Path) -> None:
    install(site, "appserver-of-the-house", "appserver.__main__:main")
    assert distribution.how_to_install("watch") == "pip install 'appserver-of-the-house[watch]'"


def test_a_hint_names_the_checkout_that_it_was_installed_from(site: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "my checkout"
    source = {"url": checkout.as_uri(), "dir_info": {}}
    install(site, "appserver-asgi", "appserver.__main__:main", source)
    assert distribution.how_to_install("watch") == "pip install 'appserver-asgi[watch]'"  # it is gone, as in an image
    checkout.mkdir()
    assert distribution.how_to_install("watch") == f"pip install '{checkout}[watch]'"


def test_from_an_archive_the_name_is_all_there_is(site: Path) -> None:
    source = {"url": "https://files.example/appserver.whl", "archive_info": {}}
    install(site, "appserver-asgi", "appserver.__main__:main", source)
    assert distribution.how_to_install("watch") == "pip install 'appserver-asgi[watch]'"


def test_a_foreign_command_of_the_same_name_is_not_taken_for_it(site: Path) -> None:
    install(site, "another-project", "another.cli:main")
    assert distribution.name() != "another-project"


def test_what_is_not_installed_goes_by_the_name_that_it_is_published_under(site: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert distribution.name() == project["name"]
