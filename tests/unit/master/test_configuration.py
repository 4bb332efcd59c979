"""What a generation is made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from appserver.errors import SettingsError
from appserver.master.configuration import Configuration, Configurations, refuse_beyond
from appserver.settings import Override, load


def test_a_secret_of_the_settings_is_not_in_the_environment_of_the_application(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "app.env"
    file.write_text("APPSERVER_TLS__KEY_PASSWORD=geheim\nDATABASE_PASSWORD=its own\n")
    for name, value in {
        "APPSERVER_TLS": '{"key_password": "geheim"}',
        "APPSERVER_TLS__KEY_PASSWORD": "geheim",
        "APPSERVER_WORKERS__COUNT": "2",
    }.items():
        monkeypatch.setenv(name, value)
    overrides = [Override("app.target", "a:b", "argument"), Override("app.env_file", str(file), "--env-file")]
    environment = Configuration.of(load(None, environ={}, overrides=overrides)).environment()
    assert "geheim" not in "".join(environment.values())
    assert (environment["DATABASE_PASSWORD"], environment["APPSERVER_WORKERS__COUNT"]) == ("its own", "2")


@pytest.mark.parametrize(
    ("count", "surge", "problem"),
    [
        (63, 1, None),
        (64, 1, "workers.count = 64: there is room for 63"),
        (1, 99, "reload.surge = 99: there is room for 64"),
    ],
)
def test_what_there_is_no_room_for_is_named(count: int, surge: int, problem: str | None) -> None:
    overrides = [Override("app.target", "a:b", "argument"), Override("workers.count", count, "argument")]
    overrides.append(Override("reload.surge", surge, "argument"))
    policy = Configuration.of(load(None, environ={}, overrides=overrides)).policy
    if problem is None:
        refuse_beyond(64, policy)
    else:
        with pytest.raises(SettingsError, match=problem):
            refuse_beyond(64, policy)


def configuration(target: str) -> Configuration:
    return Configuration.of(load(None, environ={"APPSERVER_APP__TARGET": target}))


class TestConfigurations:
    """Settings A serve; B and C are wanted one after the other."""

    A, B, C = map(configuration, ("a:a", "b:b", "c:c"))

    def in_use(self) -> Configurations:
        """B is wanted, and its generation has been begun."""
        in_use = Configurations(self.A)
        assert in_use.of_generation(1) is self.A
        in_use.wanted = self.B
        assert in_use.of_generation(2) is self.B
        return in_use

    def test_a_generation_keeps_what_it_was_made_from(self) -> None:
        in_use = self.in_use()
        assert in_use.of_generation(1) is self.A
        assert in_use.generations() == {1: self.A, 2: self.B}

    def test_a_reload_that_serves_is_adopted(self) -> None:
        in_use = self.in_use()
        in_use.adopt(2)
        assert (in_use.serving, in_use.wanted) == (self.B, self.B)

    def test_a_reload_that_fails_is_taken_back(self) -> None:
        in_use = self.in_use()
        in_use.take_back(2)
        assert (in_use.serving, in_use.wanted) == (self.A, self.A)

    def test_a_later_reload_is_still_wanted_when_an_earlier_one_fails(self) -> None:
        in_use = self.in_use()
        in_use.wanted = self.C
        in_use.take_back(2)
        assert (in_use.serving, in_use.wanted) == (self.A, self.C)
        in_use.take_back(None)
        assert in_use.wanted is self.A

    def test_generations_that_are_gone_are_forgotten(self) -> None:
        in_use = self.in_use()
        in_use.keep([2, 3])
        assert in_use.generations() == {2: self.B}
        assert in_use.certificates() == {2: None}
