"""Secrets in a logging configuration, which nothing but their names and their form tells from other values."""

from __future__ import annotations

from typing import Any

import pytest

from appserver.settings import Settings, differences, mask_text
from appserver.settings.problems import shown_value
from appserver.settings.secrets import mask_logging, mask_value

CONFIG: dict[str, Any] = {
    "version": 1,
    "formatters": {"text": {"format": "%(asctime)s token=%(token)s %(message)s"}},
    "handlers": {
        "mail": {
            "class": "logging.handlers.SMTPHandler",
            "mailhost": ["mail.example", 587],
            "credentials": ["shop", "geheim"],
            "secure": [],
        },
        "auth": {"class": "logging.StreamHandler", "level": "INFO"},
        "loki": {"class": "loki.Handler", "url": "https://shop:geheim@loki.example/push", "auth": None},
        "splunk": {"class": "splunk.Handler", "options": {"hec_token": "geheim", "verify": True, "retries": [1, 2]}},
        "database": {"class": "shop.Handler", "target": "host=db user=shop password=geheim dbname=logs"},
    },
    "loggers": {"shop.auth": {"handlers": ["auth"], "level": "DEBUG"}},
}


def test_what_is_secret_is_masked_and_what_is_not_can_be_read() -> None:
    masked = mask_logging(CONFIG)
    assert "geheim" not in str(masked)
    assert masked["handlers"]["mail"] == {
        "class": "logging.handlers.SMTPHandler",
        "mailhost": ["mail.example", 587],
        "credentials": "********",
        "secure": [],
    }
    assert masked["handlers"]["loki"]["url"] == "https://shop:********@loki.example/push"
    assert masked["handlers"]["loki"]["auth"] is None
    assert masked["handlers"]["splunk"]["options"] == {"hec_token": "********", "verify": True, "retries": [1, 2]}
    assert masked["handlers"]["database"]["target"] == "host=db user=shop password=******** dbname=logs"
    for section, name in (("formatters", "text"), ("handlers", "auth"), ("loggers", "shop.auth")):
        assert masked[section][name] == CONFIG[section][name]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "smtpPassword",
            "PASSWD",
            "pwd",
            "passphrase",
            "client_secret",
            "token",
            "hec_token",
            "credentials",
        ),
        *("api_key", "apiKey", "access-key", "private_key", "key", "dsn", "webhook_url", "connection_string"),
        *("Authorization", "auth", "Cookie", "signature"),
    ],
)
def test_a_key_that_is_called_like_a_secret_is_masked_whatever_it_holds(name: str) -> None:
    for value in ("geheim", ["a", "geheim"], {"a": "geheim"}, 1234):
        assert mask_value({name: value}) == {name: "********"}
    nothings: list[object] = ["", None, False, [], {}]
    for nothing in nothings:
        assert mask_value({name: nothing}) == {name: nothing}


@pytest.mark.parametrize("name", ["class", "level", "author", "keyfile", "filename", "signal", "monkey", "format"])
def test_a_key_that_is_called_otherwise_is_shown(name: str) -> None:
    assert mask_value({name: "shown"}) == {name: "shown"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://shop:geheim@db:5432/logs", "postgres://shop:********@db:5432/logs"),
        ("redis://:geheim@cache/0", "redis://:********@cache/0"),
        ("amqp://shop:ge@heim@mq/", "amqp://shop:********@mq/"),
        ("https://geheim@sentry.example/1", "https://********@sentry.example/1"),
        ("ssh://git@host/path", "ssh://git@host/path"),
        ("https://api.example/log?shop=1&api_key=geheim&a=b", "https://api.example/log?shop=1&api_key=********&a=b"),
        ('{"handlers": {"x": {"password": "ge heim", "a": 1', '{"handlers": {"x": {"password": ********, "a": 1'),
        ("Handler('https://a:geheim@b') failed", "Handler('https://a:********@b') failed"),
        ("mail to a@b.example", "mail to a@b.example"),
        ("https://b.example/@a", "https://b.example/@a"),
        ("{message} token={token}", "{message} token={token}"),
        ("token: expected text", "token: expected text"),
    ],
)
def test_a_secret_in_a_text_is_known_by_its_form(text: str, masked: str) -> None:
    assert mask_text(text) == masked


def test_of_a_secret_in_a_logging_config_only_the_change_is_told() -> None:
    def settings(password: str) -> Settings:
        handlers = {"mail": {"class": "x.Handler", "password": password}}
        return Settings.model_validate(
            {"app": {"target": "a:b"}, "logging": {"config": {"version": 1, "handlers": handlers}}}
        )

    [difference] = differences(settings("geheim"), settings("geheimer"))
    assert difference.key == "logging.config"
    assert "x.Handler" in str(difference)
    assert "geheim" not in str(difference)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", {"handlers": {"mail": {"password": "geheim"}}}),
        ("handlers", {"mail": {"password": "geheim"}}),
        ("config", '{"handlers": {"mail": {"password": "geheim"}}'),
    ],
)
def test_no_message_shows_a_secret_of_a_logging_config(name: str, value: object) -> None:
    shown = shown_value(("logging", name), value)
    assert "mail" in shown
    assert "geheim" not in shown


def test_the_target_of_an_application_is_shown_whatever_its_name() -> None:
    assert shown_value(("app", "target"), "token:app") == '"token:app"'
