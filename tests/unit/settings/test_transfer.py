"""Settings that another version has written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appserver.settings import Settings, read_settings

SETTINGS = Settings.model_validate(
    {
        "app": {"target": "a:b"},
        "listeners": [{"bind": "[::1]:1"}, {"bind": "unix:/x", "mode": "0600"}],
        "workers": {"count": 3, "boot_timeout": 1.5},
    }
)


def written(**changes: Any) -> str:
    return json.dumps({**SETTINGS.model_dump(mode="json"), **changes})


def test_settings_come_back_as_they_were() -> None:
    assert read_settings(SETTINGS.model_dump_json()) == SETTINGS


def test_what_this_version_does_not_know_is_left_out() -> None:
    listeners = [{**listener, "invented": {"a": 1}} for listener in SETTINGS.model_dump(mode="json")["listeners"]]
    workers = {**SETTINGS.model_dump(mode="json")["workers"], "invented": 1}
    assert read_settings(written(invented={"a": 1}, listeners=listeners, workers=workers)) == SETTINGS


def test_what_is_missing_has_its_default() -> None:
    assert read_settings(json.dumps({"app": {"target": "a:b"}})) == Settings.model_validate({"app": {"target": "a:b"}})


def test_a_value_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="workers"):
        read_settings(written(workers={"count": "many"}))
