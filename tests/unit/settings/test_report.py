"""The resolved settings with their origins."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from appserver.settings import Loaded, Override, load
from appserver.settings.origins import DEFAULT
from appserver.settings.report import as_data, as_toml


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    file = tmp_path / "server.toml"
    file.write_text(
        """
        [app]
        target = "a:b"
        [[listeners]]
        bind = "127.0.0.1:1"
        [[listeners]]
        bind = "unix:/run/x"
        mode = "0600"
        [http]
        max_body_size = "1MiB"
        headers = ["X-A: b"]
        [workers]
        boot_timeout = "1m30s"
        """
    )
    return load(
        file, environ={"APPSERVER_WORKERS__PRELOAD": "1"}, overrides=[Override("workers.count", "3", "--workers")]
    )


def with_password(loaded: Loaded) -> Loaded:
    tls = loaded.settings.tls.model_validate({"key_password": "geheim"})
    return Loaded(loaded.settings.model_copy(update={"tls": tls}), loaded.origins, loaded.paths)


def test_as_toml_every_value_has_its_origin_behind_it(loaded: Loaded) -> None:
    lines = [" ".join(line.split()) for line in as_toml(loaded).splitlines()]
    assert "count = 3 # command line: --workers" in lines
    assert "preload = true # environment: APPSERVER_WORKERS__PRELOAD" in lines
    assert f"boot_timeout = 90 # file: {loaded.path}" in lines
    assert "graceful_timeout = 30 # default" in lines
    assert f'max_body_size = "1MiB" # file: {loaded.path}' in lines
    assert f'headers = ["X-A: b"] # file: {loaded.path}' in lines
    assert '#user = "" # default' in lines
    assert lines.count("[[listeners]]") == 2
    assert sum("#" in line for line in lines) == len(loaded.origins)


def test_as_toml_they_are_the_same_settings_again(loaded: Loaded) -> None:
    document = tomllib.loads(as_toml(loaded))
    assert loaded.settings.model_validate(document) == loaded.settings


def test_as_data_every_value_has_its_origin_beside_it(loaded: Loaded) -> None:
    data = json.loads(json.dumps(as_data(loaded)))
    assert data["workers"]["count"] == {"value": 3, "source": "command line", "where": "--workers"}
    assert data["workers"]["user"] == {"value": None, "source": "default", "where": ""}
    assert [listener["bind"]["value"] for listener in data["listeners"]] == ["127.0.0.1:1", "unix:/run/x"]
    assert data["listeners"][0]["mode"] == {"value": "0660", "source": "default", "where": ""}
    assert data["listeners"][1]["mode"]["source"] == "file"
    assert data["http"]["max_body_size"]["value"] == 2**20


def test_a_secret_is_masked_and_one_that_is_not_set_shows_as_such(loaded: Loaded) -> None:
    assert loaded.origins["tls.key_password"] == DEFAULT
    assert as_data(loaded)["tls"]["key_password"]["value"] is None
    secretive = with_password(loaded)
    assert as_data(secretive)["tls"]["key_password"]["value"] == "********"
    assert 'key_password = "********"' in as_toml(secretive)
    assert "geheim" not in as_toml(secretive)
