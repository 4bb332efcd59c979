"""The annotated reference, and that `config/server.toml` is it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from appserver.settings import Settings, load
from appserver.settings.keys import KEYS
from appserver.settings.model import SECTIONS
from appserver.settings.reference import field_documentation, reference, schema

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


def uncommented() -> dict[str, Any]:
    """Return the reference with every key that is commented out in it."""
    text = "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith(("# ", "#:")) else line
        for line in reference().splitlines()
    )
    return tomllib.loads(text)


def test_what_is_commented_out_are_the_defaults() -> None:
    document = uncommented()
    assert Settings.model_validate(document) == load(FILE, environ={}).settings
    assert sum(len(table[0] if isinstance(table, list) else table) for table in document.values()) == len(KEYS)


class TestSchema:
    def test_the_file_in_config_is_fresh(self) -> None:
        assert (ROOT / "config" / "schema.json").read_text(encoding="utf-8") == json.dumps(schema(), indent=2) + "\n", (
            "regenerate it: appserver settings --json-schema > config/schema.json"
        )

    def test_it_is_a_schema_in_which_every_key_is_documented(self) -> None:
        document = schema()
        Draft202012Validator.check_schema(document)
        for definition in document["$defs"].values():
            assert definition["additionalProperties"] is False
            for value in definition["properties"].values():
                assert value["description"]
                if "default" in value:
                    Draft202012Validator({**value, "$defs": document["$defs"]}).validate(value["default"])

    @pytest.mark.parametrize("file", sorted((ROOT / "config").rglob("*.toml")), ids=lambda file: file.name)
    def test_every_sample_fits_it(self, file: Path) -> None:
        assert mistakes(tomllib.loads(file.read_text(encoding="utf-8"))) == []

    def test_the_defaults_fit_it(self) -> None:
        assert mistakes(uncommented()) == []

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("[worker]\ncount = 1", []),
            ("[workers]\ncuont = 1", ["workers"]),
            ("[workers]\ncount = 0", ["workers", "count"]),
            ("[workers]\nboot_timeout = '30s1m'", ["workers", "boot_timeout"]),
            ("[workers]\nboot_timeout = true", ["workers", "boot_timeout"]),
            ("[http]\nmax_body_size = '1 elephant'", ["http", "max_body_size"]),
            ("[http]\nparser = 'lex'", ["http", "parser"]),
            ("[[listeners]]\nmode = 660", ["listeners", 0, "mode"]),
            ("[[tls.sni]]\nname = 'a'\nkey = 'k'", ["tls", "sni", 0]),
            ("[proxy]\ntrusted = '*'", ["proxy", "trusted"]),
        ],
    )
    def test_mistakes_are_seen_by_an_editor(self, text: str, place: list[object]) -> None:
        assert mistakes(tomllib.loads(text)) == [place]

    @pytest.mark.parametrize(
        "text",
        [
            "[workers]\nboot_timeout = '1m30s'\ngraceful_timeout = 1.5\nstall_report = '500ms'\nmax_rss = '1.5GB'",
            "[workers]\ncount = 'auto'\numask = ''\nuser = ''",
            "[[listeners]]\nbind = 'unix:/x'\nmode = '0o660'",
            "[http]\nheaders = ['A: b']\nmax_body_size = '16 MiB'\n[tls]\nkey_password = 'x'",
        ],
    )
    def test_what_is_right_is_left_alone(self, text: str) -> None:
        assert mistakes(tomllib.loads(text)) == []


def mistakes(document: dict[str, Any]) -> list[list[object]]:
    """Return the places at which a document does not fit the schema."""
    return [list(error.absolute_path) for error in Draft202012Validator(schema()).iter_errors(document)]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_and_every_key_is_documented(section: str) -> None:
    model = SECTIONS[section]
    documentation = field_documentation(model)
    assert model.__doc__
    assert list(documentation) == list(model.model_fields)
    assert all(len(text) > 5 for text in documentation.values())


def test_no_line_is_too_long_to_read() -> None:
    assert max(map(len, reference().splitlines())) <= 100
