"""appserver.tls.material: what is read, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import SettingsError
from appserver.settings import TLSSettings
from appserver.tls import Material, read_material
from tests.support.certificates import Authority

AUTHORITY = Authority()
LOCALHOST = AUTHORITY.issue("localhost")
OTHER = AUTHORITY.issue("other.example")


def settings(directory: Path, **values: Any) -> TLSSettings:
    certificate, key = LOCALHOST.write(directory)
    return TLSSettings.model_validate({"certificate": str(certificate), "key": str(key)} | values)


def refusal(tls: TLSSettings) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read_material(tls, lambda key: f"from {key}")
    assert all(problem.where == f"from {problem.key}" for problem in caught.value.problems)
    return {problem.key: problem.expected for problem in caught.value.problems}


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    material = read_material(settings(tmp_path))
    (pair,) = material.pairs
    assert (pair.name, pair.path) == (None, str(tmp_path / "server.crt"))
    assert (pair.certificate, pair.key) == (LOCALHOST.certificate, LOCALHOST.key)
    assert Material.load(material.dump()) == material


def test_both_in_one_file(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(LOCALHOST.key + LOCALHOST.certificate)
    (pair,) = read_material(TLSSettings(certificate=both)).pairs
    assert pair.key == ""


def test_an_encrypted_key_and_its_password(tmp_path: Path) -> None:
    AUTHORITY.issue("localhost", password="geheim").write(tmp_path, "locked")
    names = {"certificate": str(tmp_path / "locked.crt"), "key": str(tmp_path / "locked.key")}
    assert read_material(settings(tmp_path, **names, key_password="geheim")).pairs
    assert refusal(settings(tmp_path, **names)) == {"tls.key": "the key is encrypted: set tls.key_password"}
    wrong = refusal(settings(tmp_path, **names, key_password="geraten"))["tls.key"]
    assert wrong.startswith("the key cannot be read: is tls.key_password the right one?")


def test_pairs_for_other_names_and_the_authorities_of_clients(tmp_path: Path) -> None:
    certificate, key = OTHER.write(tmp_path, "other")
    sni = [{"name": "other.example", "certificate": str(certificate), "key": str(key)}]
    material = read_material(settings(tmp_path, sni=sni, client_ca=str(AUTHORITY.write(tmp_path))))
    assert [pair.name for pair in material.pairs] == [None, "other.example"]
    assert material.client_ca == AUTHORITY.certificate


class TestRefused:
    def test_a_key_of_another_certificate(self, tmp_path: Path) -> None:
        _, key = OTHER.write(tmp_path, "other")
        expected = f"the key does not belong to the certificate in {tmp_path / 'server.crt'}"
        assert refusal(settings(tmp_path, key=str(key))) == {"tls.key": expected}

    @pytest.mark.parametrize("key_apart", [True, False])
    def test_a_chain_in_the_wrong_order(self, tmp_path: Path, key_apart: bool) -> None:
        chain = AUTHORITY.certificate + LOCALHOST.certificate + ("" if key_apart else LOCALHOST.key)
        (tmp_path / "chain.crt").write_text(chain)
        files = {"certificate": str(tmp_path / "chain.crt")}
        found = refusal(settings(tmp_path, **files) if key_apart else settings(tmp_path, **files, key=None))
        expected = (
            "the key belongs to certificate 2 of this file; the server's own has to come first, then the one that "
        )
        assert found == {"tls.certificate": f"{expected}signed it, and so on"}

    def test_an_expired_certificate(self, tmp_path: Path) -> None:
        AUTHORITY.issue("localhost", starts=timedelta(days=-9), ends=timedelta(days=-2)).write(tmp_path, "old")
        found = refusal(settings(tmp_path, certificate=str(tmp_path / "old.crt"), key=str(tmp_path / "old.key")))
        assert found["tls.certificate"].startswith("the certificate has expired on 20")

    def test_one_that_is_not_valid_yet(self, tmp_path: Path) -> None:
        AUTHORITY.issue("localhost", starts=timedelta(days=2)).write(tmp_path, "new")
        found = refusal(settings(tmp_path, certificate=str(tmp_path / "new.crt"), key=str(tmp_path / "new.key")))
        assert found["tls.certificate"].startswith("the certificate is not valid before 20")

    @pytest.mark.parametrize("content", ["", "hello", "-----BEGIN CERTIFICATE-----\nx\n", LOCALHOST.key])
    def test_a_file_without_a_certificate(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "x").write_text(content)
        found = refusal(settings(tmp_path, certificate=str(tmp_path / "x")))
        assert found == {"tls.certificate": "expected a certificate in PEM form; the file holds none"}

    def test_a_broken_certificate(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text(LOCALHOST.certificate.replace("\nM", "\nN", 1))
        found = refusal(settings(tmp_path, certificate=str(tmp_path / "x")))
        assert found["tls.certificate"].startswith("the first certificate in the file cannot be read")

    def test_a_broken_key(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text(LOCALHOST.key[:60] + LOCALHOST.key[80:])
        found = refusal(settings(tmp_path, key=str(tmp_path / "x")))
        assert found["tls.key"].startswith(("OpenSSL does not take this key", "the key does not belong"))

    @pytest.mark.parametrize("content", ["", LOCALHOST.certificate, b"\xff\xfe".decode("latin-1")])
    def test_a_file_without_a_key(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "x").write_text(content)
        found = refusal(settings(tmp_path, key=str(tmp_path / "x")))
        assert found == {"tls.key": "expected a private key in PEM form; there is none"}

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        found = refusal(settings(tmp_path, key=str(tmp_path / "missing"), client_ca=str(tmp_path)))
        assert found == {
            "tls.key": "cannot be read: No such file or directory",
            "tls.client_ca": "cannot be read: Is a directory",
        }

    def test_authorities_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("hello")
        assert refusal(settings(tmp_path, client_ca=str(tmp_path / "x"))).keys() == {"tls.client_ca"}

    def test_ciphers_that_do_not_exist(self, tmp_path: Path) -> None:
        assert refusal(settings(tmp_path, ciphers="ROT13")).keys() == {"tls.ciphers"}

    def test_everything_that_is_wrong_at_once(self, tmp_path: Path) -> None:
        sni = [{"name": "a", "certificate": "/nowhere/a", "key": "/nowhere/b"}]
        found = refusal(settings(tmp_path, key="/nowhere/key", sni=sni, ciphers="ROT13"))
        assert list(found) == ["tls.key", "tls.sni[0].certificate", "tls.sni[0].key", "tls.ciphers"]
