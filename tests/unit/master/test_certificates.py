"""appserver.master.certificates: renewing and watching, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import errno
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import SettingsError
from appserver.master.certificates import Certificates, CertificateWatch, expiries
from appserver.settings import Loaded, TLSSettings, load
from appserver.tls import Material, read_material
from tests.support.certificates import Authority
from tests.unit.engine.world import Log

DAY = 86400.0
AUTHORITY = Authority()


def certificates(directory: Path, name: str = "server", **values: Any) -> Certificates:
    """A pair that is valid for 30 days, read from files."""
    certificate, key = AUTHORITY.issue("localhost").write(directory, name)
    settings = TLSSettings(certificate=certificate, key=key, **values)
    return Certificates(settings, read_material(settings))


class Scene:
    """A watch over generations, and what it gives to them."""

    def __init__(self, generations: dict[int, Certificates | None]) -> None:
        self.now = min(expiries(generations.values()).values()) - 30 * DAY
        self.renewed: list[tuple[int, Material]] = []
        self.log: Any = Log()
        self.out_of_descriptors = False
        self.watch = CertificateWatch(lambda: generations, self.renew, self.log, lambda: self.now)

    def renew(self, number: int, material: Material) -> None:
        if self.out_of_descriptors:
            raise OSError(errno.EMFILE, "Too many open files")
        self.renewed.append((number, material))

    def look(self) -> list[dict[str, Any]]:
        """What is logged while it looks once at everything."""
        before = len(self.log.records)
        self.watch.look_at_files()
        self.watch.look_at_calendar()
        return [fields | {"event": event, "level": level} for level, event, fields in self.log.records[before:]]


class TestRenewal:
    def test_nothing_happens_while_the_files_are_the_same(self, tmp_path: Path) -> None:
        scene = Scene({1: certificates(tmp_path), 2: None})
        assert scene.look() == []
        assert scene.renewed == []

    def test_what_has_changed_goes_to_those_that_use_it(self, tmp_path: Path) -> None:
        old, used = certificates(tmp_path, "old"), certificates(tmp_path)
        scene = Scene({1: old, 2: used, 3: used, 4: None})
        renewed = AUTHORITY.issue("localhost", ends=timedelta(days=90))
        renewed.write(tmp_path)
        (record,) = scene.look()
        assert (record["event"], record["certificate"]) == ("certificate renewed", str(tmp_path / "server.crt"))
        assert [number for number, _ in scene.renewed] == [2, 3]
        assert scene.renewed[0][1].pairs[0].certificate == renewed.certificate == used.material.pairs[0].certificate
        assert scene.look() == []

    def test_of_several_pairs_those_are_named_that_have_changed(self, tmp_path: Path) -> None:
        pair = AUTHORITY.issue("shop.test").write(tmp_path, "shop")
        sni = [{"name": "shop.test", "certificate": str(pair[0]), "key": str(pair[1])}]
        authority = AUTHORITY.write(tmp_path)
        scene = Scene({1: certificates(tmp_path, sni=sni, client_ca=str(authority), client_verify="optional")})
        AUTHORITY.issue("shop.test").write(tmp_path, "shop")
        (record,) = scene.look()
        assert (record["event"], record["certificate"]) == ("certificate renewed", str(tmp_path / "shop.crt"))
        Authority("Another").write(tmp_path)
        (record,) = scene.look()
        assert (record["event"], record["file"]) == ("client authorities renewed", str(authority))
        assert len(scene.renewed) == 2

    def test_half_of_a_new_pair_is_not_used_and_said_once(self, tmp_path: Path) -> None:
        used = certificates(tmp_path)
        before = used.material
        scene = Scene({1: used})
        renewed = AUTHORITY.issue("localhost")
        (tmp_path / "server.crt").write_text(renewed.certificate)
        (record,) = scene.look()
        assert record["event"] == "certificates not renewed"
        assert "does not belong" in record["reason"]
        assert scene.look() == []
        assert (scene.renewed, used.material) == ([], before)
        (tmp_path / "server.key").write_text(renewed.key)
        assert [record["event"] for record in scene.look()] == ["certificate renewed"]

    def test_files_that_have_gone_change_nothing(self, tmp_path: Path) -> None:
        scene = Scene({1: certificates(tmp_path)})
        (tmp_path / "server.key").unlink()
        assert [record["event"] for record in scene.look()] == ["certificates not renewed"]
        assert scene.renewed == []

    def test_what_cannot_be_spread_is_tried_again(self, tmp_path: Path) -> None:
        scene = Scene({1: certificates(tmp_path)})
        AUTHORITY.issue("localhost").write(tmp_path)
        scene.out_of_descriptors = True
        (record,) = scene.look()
        assert (record["event"], record["reason"]) == ("certificates not renewed", "[Errno 24] Too many open files")
        assert scene.look() == []
        scene.out_of_descriptors = False
        assert [record["event"] for record in scene.look()] == ["certificate renewed"]
        assert [number for number, _ in scene.renewed] == [1]

    def test_it_can_be_switched_off(self, tmp_path: Path) -> None:
        scene = Scene({1: certificates(tmp_path, check_interval=0.0)})
        AUTHORITY.issue("localhost").write(tmp_path)
        assert scene.look() == []
        assert scene.renewed == []

    def test_a_shorter_interval_holds_at_once(self, tmp_path: Path) -> None:
        generations: dict[int, Certificates | None] = {1: certificates(tmp_path, check_interval=3600.0)}
        scene = Scene(generations)
        loop = asyncio.new_event_loop()
        scene.watch.start(loop)
        generations[1] = certificates(tmp_path, check_interval=1.0)
        scene.watch.start(loop)
        due = [handle.when() - loop.time() for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        loop.close()
        assert len(due) == 1
        assert due[0] <= 1


class TestCalendar:
    def test_a_warning_comes_14_days_ahead_and_then_every_day(self, tmp_path: Path) -> None:
        scene = Scene({1: certificates(tmp_path)})
        scene.now -= DAY / 8
        told = []
        for _ in range(31 * 4):
            told += [(record["level"], record["event"], record["days_left"]) for record in scene.look()]
            scene.now += DAY / 4
        assert told[:14] == [("warning", "certificate expires soon", left) for left in range(13, -1, -1)]
        assert told[14:] == [("error", "certificate has expired", -1)]

    def test_a_clock_that_is_set_back_does_not_keep_it_from_being_told(self, tmp_path: Path) -> None:
        scene = Scene({1: certificates(tmp_path)})
        scene.now += 40 * DAY
        assert [record["event"] for record in scene.look()] == ["certificate has expired"]
        scene.now -= 20 * DAY
        assert [record["event"] for record in scene.look()] == ["certificate expires soon"]
        assert scene.look() == []

    def test_of_several_files_each_is_told(self, tmp_path: Path) -> None:
        pair = certificates(tmp_path, "other").material.pairs[0]
        used = certificates(tmp_path)
        used.material = Material((*used.material.pairs, pair), None)
        scene = Scene({1: used})
        scene.now += 20 * DAY
        used.settings = used.settings.model_copy(update={"check_interval": 0.0})
        assert {record["certificate"] for record in scene.look()} == {pair.path, str(tmp_path / "server.crt")}


def test_what_generations_share_expires_once_and_at_the_earlier_moment(tmp_path: Path) -> None:
    old = certificates(tmp_path)
    AUTHORITY.issue("localhost", ends=timedelta(days=90)).write(tmp_path)
    new = Certificates(old.settings, read_material(old.settings))
    (found,) = expiries([old, new, None]).items()
    assert found == (str(tmp_path / "server.crt"), old.material.pairs[0].expires_at)


class TestReading:
    def loaded(self, directory: Path, text: str) -> Loaded:
        (directory / "server.toml").write_text(f"app.target = 'a:b'\n{text}")
        return load(directory / "server.toml", environ={})

    def test_without_a_listener_for_it_nothing_is_read(self, tmp_path: Path) -> None:
        assert Certificates.of(self.loaded(tmp_path, "")) is None

    def test_what_is_wrong_is_told_with_its_place(self, tmp_path: Path) -> None:
        certificate, _ = AUTHORITY.issue("localhost").write(tmp_path)
        text = f"listeners = [{{tls = true}}]\ntls.certificate = '{certificate}'\ntls.key = '{certificate}'"
        with pytest.raises(SettingsError) as caught:
            Certificates.of(self.loaded(tmp_path, text))
        (problem,) = caught.value.problems
        assert (problem.where.endswith("server.toml"), problem.key) == (True, "tls.key")
