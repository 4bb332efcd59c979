"""Key material: what stands in the files that `[tls]` names, read and found usable."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from appserver.errors import Problem, SettingsError
from appserver.files import read
from appserver.settings import Settings, TLSSettings
from appserver.tls.certificate import holds_private_key, pem_blocks, read_validity
from appserver.tls.context import KeyEncrypted, load_pair, make_context, password

_MAX_SIZE = 4 * 1024 * 1024  # all authorities of the world are a quarter of a megabyte

Where = Callable[[str], str]
"""Where the value of a key ("tls.certificate") comes from, for messages."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its private key, both PEM; an empty key is in the certificate's file.

    `name` is the host name that it is for, None for the pair that is used for every other name; `path` is where the
    certificate was read, by which people know it.
    """

    name: str | None
    path: str
    certificate: str
    key: str

    @property
    def expires_at(self) -> float:
        """When the certificate ends to be valid, in seconds since the epoch."""
        return read_validity(self.certificate).not_after


@dataclass(frozen=True, slots=True)
class Material:
    """All that contexts are made from, besides the settings: the pairs, the default one first, and the clients' CAs."""

    pairs: tuple[Pair, ...]
    client_ca: str | None

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Material:
        content = json.loads(text)
        return cls(tuple(Pair(**pair) for pair in content["pairs"]), content["client_ca"])


def speaks_tls(settings: Settings) -> bool:
    """Whether some listener speaks TLS."""
    return any(listener.tls for listener in settings.listeners)


def read_material(tls: TLSSettings, where: Where = lambda _: "", *, now: float | None = None) -> Material:
    """Read all files, and make sure that contexts can be made of them.

    Raises SettingsError, with everything that is wrong: files that cannot be read or hold something else, keys that do
    not belong to their certificate, certificates that are not valid at the time `now` (default: the present).
    """
    problems: list[Problem] = []
    pairs = []
    moment = time.time() if now is None else now
    for name, key, certificate_path, key_path in _named_pairs(tls):
        reader = _Reader(tls, where, key, moment, problems)
        pair = reader.pair(name, certificate_path, key_path)
        if pair is not None:
            pairs.append(pair)
    reader = _Reader(tls, where, "tls", moment, problems)
    client_ca = reader.client_ca()
    reader.ciphers()
    if problems:
        raise SettingsError(problems)
    return Material(tuple(pairs), client_ca)


def _named_pairs(tls: TLSSettings) -> Iterator[tuple[str | None, str, Path, Path | None]]:
    """Every pair: the name that it is for, where it stands in the settings, and its files."""
    assert tls.certificate is not None, "settings with a TLS listener have a certificate"
    yield None, "tls", tls.certificate, tls.key
    for index, sni in enumerate(tls.sni):
        yield sni.name, f"tls.sni[{index}]", sni.certificate, sni.key


@dataclass(slots=True)
class _Reader:
    """Reads what one table names, and notes what is wrong with it."""

    tls: TLSSettings
    where: Where
    table: str
    now: float
    problems: list[Problem]

    def pair(self, name: str | None, certificate_path: Path, key_path: Path | None) -> Pair | None:
        certificate = self._read("certificate", certificate_path)
        key = "" if key_path is None else self._read("key", key_path)
        if certificate is None or key is None:
            return None
        if not pem_blocks(certificate):
            self._wrong("certificate", certificate_path, "expected a certificate in PEM form; the file holds none")
        elif not holds_private_key(key or certificate):
            path = key_path or certificate_path
            self._wrong("key" if key_path else "certificate", path, "expected a private key in PEM form; there is none")
        else:
            self._try(Pair(name, str(certificate_path), certificate, key), key_path or certificate_path)
        return Pair(name, str(certificate_path), certificate, key)

    def _try(self, pair: Pair, key_path: Path) -> None:
        """Find out whether a pair can be used, now."""
        try:
            validity = read_validity(pair.certificate)
        except ValueError as error:
            self._wrong("certificate", pair.path, f"the first certificate in the file cannot be read: {error}")
            return
        if validity.not_after < self.now:
            self._wrong("certificate", pair.path, f"the certificate has expired on {_day(validity.not_after)}")
        elif validity.not_before > self.now:
            self._wrong("certificate", pair.path, f"the certificate is not valid before {_day(validity.not_before)}")
        try:
            load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair.certificate, pair.key, password(self.tls))
        except KeyEncrypted:
            self._wrong("key", key_path, "the key is encrypted: set tls.key_password")
        except ssl.SSLError as error:
            if place := self._place_of_own(pair):
                expected = (
                    f"the key belongs to certificate {place} of this file; the server's own has to come first, then the "
                    f"one that signed it, and so on"
                )
                self._wrong("certificate", pair.path, expected)
            else:
                self._wrong("key", key_path, self._explain(error, pair))

    def _place_of_own(self, pair: Pair) -> int | None:
        """Which certificate of a chain, counted from 1, the key belongs to; None if it belongs to none, or to the first."""
        for place, block in enumerate(pem_blocks(pair.certificate)[1:], start=2):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with contextlib.suppress(ssl.SSLError, KeyEncrypted):
                load_pair(context, block, pair.key or pair.certificate, password(self.tls))
                return place
        return None

    def _explain(self, error: ssl.SSLError, pair: Pair) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key does not belong to the certificate in {pair.path}"
        if "ENCRYPTED" in (pair.key or pair.certificate):
            return f"the key cannot be read: is tls.key_password the right one? ({error.reason or error})"
        return f"OpenSSL does not take this key and {pair.path}: {error.reason or error}"

    def client_ca(self) -> str | None:
        path = self.tls.client_ca
        text = None if path is None else self._read("client_ca", path)
        if text is None:
            return None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            self._wrong("client_ca", str(path), f"expected certificates in PEM form ({error})")
        return text

    def ciphers(self) -> None:
        try:
            make_context(self.tls)
        except ssl.SSLError:
            self._wrong("ciphers", self.tls.ciphers or "", "OpenSSL knows no cipher by that; see openssl ciphers -v")

    def _read(self, name: str, path: Path) -> str | None:
        try:
            return read(path, _MAX_SIZE).decode("ascii", errors="ignore")  # comments may be in any language
        except OSError as error:
            self._wrong(name, path, f"cannot be read: {error.strerror}")
            return None

    def _wrong(self, name: str, value: object, expected: str) -> None:
        key = f"{self.table}.{name}"
        self.problems.append(Problem(self.where(key), key, json.dumps(str(value)), expected))


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
