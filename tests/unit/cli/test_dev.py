"""`appserver dev`: what it makes of the settings and of the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appserver.cli.dev import prepare_environment, unused
from appserver.settings import AppSettings, Override, load

USED = {
    "app.target": "a:b",
    "app.threads": 3,
    "listeners": [{"bind": "127.0.0.1:0"}],
    "workers.loop": "asyncio",
    "workers.graceful_timeout": 3,
    "http.max_headers": 9,
    "dev.ignore": ["x"],
}


def test_what_it_has_no_use_for_is_named_if_somebody_has_just_written_it(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text("[workers]\npreload = true\n[reload]\nsoak = 3\n")
    environ = {"APPSERVER_WORKERS__MAX_REQUESTS": "3"}
    overrides = [Override(key, value, "--set") for key, value in USED.items()]
    assert unused(load(tmp_path / "server.toml", environ=environ, overrides=overrides)) == []
    overrides += [
        Override("workers.count", "3", "--workers"),
        Override("admin.bind", "127.0.0.1:0", "--set"),
        Override("lambda.streaming", True, "--set"),
    ]
    assert sorted(unused(load(tmp_path / "server.toml", environ=environ, overrides=overrides))) == [
        "admin.bind",
        "lambda.streaming",
        "workers.count",
    ]


def test_the_application_has_its_file_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"APPSERVER_TLS__KEY_PASSWORD": "x", "APPSERVER_HTTP__MAX_HEADERS": "9"})
    (tmp_path / "app.env").write_text("APPSERVER_TLS='{}'\nOTHER=1\n")
    prepare_environment(AppSettings(target="a:b", env_file=tmp_path / "app.env"))
    assert os.environ == {"APPSERVER_HTTP__MAX_HEADERS": "9", "OTHER": "1"}
