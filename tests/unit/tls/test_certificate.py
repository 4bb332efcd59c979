"""appserver.tls.certificate: reading as much of a certificate as has to be known."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.tls.certificate import holds_private_key, pem_blocks, read_validity
from tests.support.certificates import Authority

ISSUED = Authority().issue("localhost")


@pytest.mark.parametrize("days", [1, 100, 10_000, 40_000])
def test_the_validity_is_that_of_the_certificate(days: int) -> None:
    """Up to 2049 it is written in one way, and later in another."""
    issued = Authority().issue("localhost", ends=timedelta(days=days))
    validity = read_validity(issued.certificate)
    now = datetime.now(UTC).timestamp()
    assert abs(validity.not_before - (now - 86400)) < 300
    assert abs(validity.not_after - (now + days * 86400)) < 300


def test_the_first_certificate_of_a_file_counts_and_what_stands_between_them_does_not() -> None:
    other = Authority().issue("localhost", ends=timedelta(days=3))
    text = f"subject=CN=localhost\n{ISSUED.certificate}\nsubject=é\n{other.certificate}{ISSUED.key}"
    assert read_validity(text) == read_validity(ISSUED.certificate)
    assert pem_blocks(text) == [ISSUED.certificate, other.certificate]
    assert holds_private_key(text)
    assert not holds_private_key(ISSUED.certificate)


@pytest.mark.parametrize("text", ["", "x", ISSUED.key, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no|early"):
        read_validity(text)


def as_pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"


DER = base64.b64decode("".join(ISSUED.certificate.split("\n")[1:-2]))


@given(st.binary(min_size=1, max_size=200))
def test_any_octets_are_read_or_refused(der: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # which of its kinds depends on where they stop to make sense
        read_validity(as_pem(der))


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_certificate_with_a_wrong_octet_is_read_or_refused(position: int, octet: int) -> None:
    changed = DER[:position] + bytes([octet]) + DER[position + 1 :]
    try:
        read_validity(as_pem(changed))
    except ValueError:
        pass
