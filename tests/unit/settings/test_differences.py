"""What changed between two loads."""

from __future__ import annotations

from typing import Any

from appserver.settings import Difference, Settings, differences


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({"app": {"target": "a:b"}, **sections})


def test_equal_settings_do_not_differ() -> None:
    assert differences(settings(), settings(workers={"boot_timeout": "1m"})) == []


def test_every_key_that_changed_is_named_with_both_values_in_the_order_of_the_model() -> None:
    old = settings(workers={"count": 2}, listeners=[{"bind": "127.0.0.1:1"}])
    new = settings(workers={"user": "www"}, http={"headers": ["a: b"]}, listeners=[{"bind": "127.0.0.1:2"}])
    listeners, count, user, headers = differences(old, new)
    assert listeners.key == "listeners"
    assert [table["bind"] for table in (*listeners.old, *listeners.new)] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert count == Difference("workers.count", 2, "auto")
    assert user == Difference("workers.user", None, "www")
    assert headers == Difference("http.headers", [], ["a: b"])


def test_a_difference_reads_as_a_sentence() -> None:
    assert str(Difference("workers.count", 2, "auto")) == 'workers.count: 2 -> "auto"'
    assert str(Difference("workers.user", None, "www")) == 'workers.user: unset -> "www"'


def test_of_a_secret_only_the_change_is_told() -> None:
    [difference] = differences(settings(tls={"key_password": "old"}), settings(tls={"key_password": "new"}))
    assert difference.key == "tls.key_password"
    assert difference.old == difference.new == "********"
