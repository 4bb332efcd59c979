"""The sections as pydantic models: defaults, bounds, and the way to other processes and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appserver.settings import HTTPSettings, ListenerSettings, Settings, TCPAddress, UnixAddress, WorkersSettings

APP = {"target": "example:app"}


def test_the_defaults_are_those_that_are_promised() -> None:
    settings = Settings.model_validate({"app": APP})
    assert settings.listeners == (ListenerSettings(),)
    assert settings.listeners[0].bind == TCPAddress("127.0.0.1", 8000)
    assert settings.workers.count == "auto"
    assert (settings.workers.boot_timeout, settings.workers.graceful_timeout, settings.workers.queue_timeout) == (
        60,
        30,
        1,
    )
    assert (settings.reload.surge, settings.reload.soak, settings.reload.linger) == (1, 0, 5)
    assert (settings.shutdown.delay, settings.shutdown.linger) == (0, 1)
    assert (settings.http.max_target_size, settings.http.max_header_size) == (8192, 65536)
    assert settings.http.keepalive_timeout == 75
    assert settings.websocket.max_message_size == 16777216
    assert settings.proxy.trusted == ("127.0.0.1", "::1")
    assert settings.admin.bind is None
    assert settings.metrics.buckets == (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def test_a_section_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        HTTPSettings().max_headers = 3  # type: ignore[misc]  # that it is refused is the point


def test_a_section_knows_no_key_but_its_own() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        WorkersSettings.model_validate({"cuont": 1})


def test_a_message_of_pydantic_does_not_repeat_what_it_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"app": APP, "tls": {"key_password": ["geheim"]}})
    assert "geheim" not in str(caught.value)


def test_settings_come_out_of_json_as_they_went_in() -> None:
    settings = Settings.model_validate(
        {
            "app": {"target": "a.b:c", "directory": "/srv/ä", "env_file": "x.env", "factory": True},
            "listeners": [{"bind": "[::1]:0"}, {"bind": "unix:/run/x", "mode": "0600", "user": "root"}],
            "tls": {"key_password": "geheim", "sni": [{"name": "a", "certificate": "b", "key": "c"}]},
            "workers": {"count": 3, "boot_timeout": "1m30s", "max_rss": "1.5GiB", "umask": "027"},
            "http": {"headers": ["X-A: b", "x-c:  d:e"], "request_timeout": 0.1},
            "proxy": {"trusted": ["*", "10.0.0.0/8"]},
            "admin": {"bind": "127.0.0.1:9464", "control": "/run/control"},
            "metrics": {"buckets": [0.1, 1]},
        }
    )
    copy = Settings.model_validate_json(settings.model_dump_json())
    assert copy == settings
    assert copy.tls.key_password is not None
    assert copy.tls.key_password.get_secret_value() == "geheim"
    assert copy.listeners[1].bind == UnixAddress("/run/x")
    assert copy.http.headers == (("X-A", "b"), ("x-c", "d:e"))
    assert copy.model_dump_json() == settings.model_dump_json()


@given(
    st.floats(0, 1e7),
    st.integers(0, 2**50),
    st.lists(st.floats(0.001, 1000), min_size=1, unique=True).map(sorted),
)
def test_numbers_come_out_of_json_exactly(duration: float, size: int, buckets: list[float]) -> None:
    settings = Settings.model_validate(
        {
            "app": APP,
            "workers": {"graceful_timeout": duration},
            "http": {"max_body_size": size},
            "metrics": {"buckets": buckets},
        }
    )
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
