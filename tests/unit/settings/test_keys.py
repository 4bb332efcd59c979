"""The index of all keys, and the nearest known name."""

from __future__ import annotations

import pytest

from appserver.settings.keys import (
    KEYS,
    SECRET_VARIABLES,
    VARIABLES,
    nearest_key,
    nearest_section,
    nearest_variable,
)
from appserver.settings.model import LISTS_OF_TABLES, SECTIONS, SNISettings, WorkersSettings


def test_every_section_and_key_of_the_model_is_there() -> None:
    assert list(SECTIONS) == [
        *("app", "listeners", "tls", "workers", "reload", "shutdown", "http", "http2", "websocket", "proxy", "logging"),
        *("access_log", "request_id", "admin", "metrics", "dev", "lambda"),
    ]
    assert {"listeners"} == LISTS_OF_TABLES
    assert len(KEYS) == sum(len(model.model_fields) for model in SECTIONS.values())
    assert str(KEYS["workers.count"]) == "workers.count"


def test_every_key_has_a_variable_but_those_of_lists_of_tables_which_are_set_as_a_whole() -> None:
    assert VARIABLES["APPSERVER_ACCESS_LOG__EXCLUDE_PATHS"] == "access_log.exclude_paths"
    assert VARIABLES["APPSERVER_WORKERS"] == "workers"
    assert VARIABLES["APPSERVER_LISTENERS"] == "listeners"
    assert "APPSERVER_LISTENERS__BIND" not in VARIABLES
    assert len(VARIABLES) == len(SECTIONS) + sum(key.section not in LISTS_OF_TABLES for key in KEYS.values())


def test_the_variables_that_may_hold_a_secret_are_known() -> None:
    tables = {"APPSERVER_LOGGING__CONFIG", "APPSERVER_LOGGING"}
    assert {"APPSERVER_TLS__KEY_PASSWORD", "APPSERVER_TLS"} | tables == SECRET_VARIABLES
    assert set(VARIABLES) > SECRET_VARIABLES


def test_the_kind_of_a_value_is_known_from_the_model() -> None:
    def having(kind: str) -> set[str]:
        return {name for name, key in KEYS.items() if getattr(key, kind)}

    assert having("is_secret") == {"tls.key_password"}
    assert having("is_list") == {
        *("tls.sni", "http.headers", "proxy.trusted", "access_log.exclude_paths", "metrics.buckets"),
        *("dev.watch", "dev.patterns", "dev.ignore", "lambda.text_types", "lambda.exclude_headers"),
    }
    assert having("is_size") == {
        *("workers.max_rss", "http.max_target_size", "http.max_header_size", "http.max_body_size"),
        *("http2.stream_window", "http2.connection_window", "http2.header_table_size", "websocket.max_message_size"),
    }
    text = having("is_text")
    assert {"app.target", "app.directory", "listeners.bind", "admin.bind", "tls.key_password", "workers.loop"} <= text
    assert {"workers.count", "workers.umask", "http.server_header"} <= text
    assert not text & {"app.factory", "listeners.backlog", "workers.boot_timeout", "http.max_body_size", "http.headers"}


@pytest.mark.parametrize(
    ("name", "is_table", "hint"),
    [
        ("worker", True, "did you mean [workers]?"),
        ("listener", True, "did you mean [[listeners]]?"),
        ("count", False, "did you mean workers.count?"),
        ("bind", False, "did you mean listeners.bind or admin.bind?"),
        ("htpp", False, "did you mean [http]?"),
        ("zzz", True, "the sections are app, listeners, tls,"),
    ],
)
def test_an_unknown_section_is_answered_with_the_nearest(name: str, is_table: bool, hint: str) -> None:
    assert nearest_section(name, is_table=is_table).startswith(hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cuont", "did you mean workers.count?"),
        ("keepalive_timeout", "did you mean http.keepalive_timeout?"),
        ("zzz", "workers has count, preload,"),
    ],
)
def test_an_unknown_key_is_answered_with_the_same_elsewhere_or_the_nearest_there(name: str, hint: str) -> None:
    assert nearest_key("workers", WorkersSettings, name).startswith(hint)


def test_an_unknown_key_of_a_nested_table_is_answered_with_the_nearest_there() -> None:
    assert nearest_key("tls.sni[0]", SNISettings, "nmae") == "did you mean tls.sni[0].name?"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("APPSERVER_WORKER__COUNT", "did you mean APPSERVER_WORKERS__COUNT?"),
        ("APPSERVER_WORKERS_COUNT", "did you mean APPSERVER_WORKERS__COUNT?"),
        ("Appserver_Workers__Count", "did you mean APPSERVER_WORKERS__COUNT?"),
        ("APPSERVER__WORKERS__COUNT", "did you mean APPSERVER_WORKERS__COUNT?"),
        ("APPSERVER_WORKRES", "did you mean APPSERVER_WORKERS?"),
        ("APPSERVER_CONFGI", "did you mean APPSERVER_CONFIG?"),
        ("APPSERVER_QQQ", "the form is APPSERVER_SECTION__KEY"),
    ],
)
def test_an_unknown_variable_is_answered_with_the_nearest(name: str, hint: str) -> None:
    assert nearest_variable(name).startswith(hint)
