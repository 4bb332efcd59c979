"""The annotated reference, and that `config/server.toml` is it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from appserver.settings import Settings, load
from appserver.settings.keys import KEYS, SECTIONS
from appserver.settings.reference import field_documentation, reference

ROOT = Path(__file__).parents[3]
FILE = ROOT / "config" / "server.toml"


def test_the_file_in_config_is_fresh() -> None:
    assert FILE.read_text(encoding="utf-8") == reference(), (
        "regenerate it: python -m appserver.settings.reference > config/server.toml"
    )


def test_the_module_prints_it() -> None:
    command = [sys.executable, "-m", "appserver.settings.reference"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == reference()


def test_it_is_a_valid_settings_file() -> None:
    loaded = load(FILE, environ={})
    assert loaded.settings == Settings.model_validate({"app": {"target": "example:app"}})


def test_what_is_commented_out_are_the_defaults() -> None:
    text = "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in reference().splitlines()
    )
    document = tomllib.loads(text)
    assert Settings.model_validate(document) == load(FILE, environ={}).settings
    assert sum(len(table[0] if isinstance(table, list) else table) for table in document.values()) == len(KEYS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_and_every_key_is_documented(section: str) -> None:
    model = SECTIONS[section]
    documentation = field_documentation(model)
    assert model.__doc__
    assert list(documentation) == list(model.model_fields)
    assert all(len(text) > 5 for text in documentation.values())


def test_no_line_is_too_long_to_read() -> None:
    assert max(map(len, reference().splitlines())) <= 100
