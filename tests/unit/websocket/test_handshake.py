"""The opening handshake: RFC 6455 sections 4.2.1 and 4.2.2."""

from __future__ import annotations

import pytest

from appserver.errors import RequestError
from appserver.websocket.handshake import Handshake, is_attempt, shake_hands

Fields = list[tuple[bytes, bytes]]

# The key and its answer are those of RFC 6455 section 1.3.
GOOD: Fields = [
    (b"host", b"example.org"),
    (b"upgrade", b"WebSocket"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def without(name: bytes) -> Fields:
    return [field for field in GOOD if field[0] != name]


def shake(fields: Fields, method: str = "GET", version: str = "1.1", *, compression: bool = True) -> Handshake:
    return shake_hands(method, version, fields, compression=compression)


def refuse(fields: Fields, method: str = "GET", version: str = "1.1") -> RequestError:
    with pytest.raises(RequestError) as caught:
        shake(fields, method, version)
    assert caught.value.reason == "bad_handshake"
    return caught.value


class TestAttempts:
    def test_an_upgrade_to_websocket_is_one(self) -> None:
        assert is_attempt(b"websocket", GOOD, may_upgrade=True)
        assert is_attempt(b"websocket", [], may_upgrade=True)

    @pytest.mark.parametrize("upgrade", [b"h2c", b"websocket, h2c", b"websocket/13", b""])
    def test_another_protocol_is_none(self, upgrade: bytes) -> None:
        assert not is_attempt(upgrade, GOOD, may_upgrade=True)

    def test_what_has_to_be_ignored_is_one_only_if_there_is_a_key(self) -> None:
        assert is_attempt(b"websocket", GOOD, may_upgrade=False)
        assert not is_attempt(b"websocket", without(b"sec-websocket-key"), may_upgrade=False)


class TestAgreement:
    def test_the_key_is_answered(self) -> None:
        agreed = shake(GOOD)
        assert agreed.accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert agreed.subprotocols == []
        assert agreed.extensions == []
        assert agreed.extensions_field is None

    def test_subprotocols_keep_their_order(self) -> None:
        offers = [(b"sec-websocket-protocol", b"chat, superchat"), (b"sec-websocket-protocol", b"v2.chat")]
        assert shake(GOOD + offers).subprotocols == ["chat", "superchat", "v2.chat"]

    def test_compression_is_agreed_on_with_a_small_window(self) -> None:
        agreed = shake([*GOOD, (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")])
        assert agreed.extensions_field == ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12")
        assert len(agreed.extensions) == 1

    def test_a_client_keeps_its_window_if_it_does_not_let_it_be_limited(self) -> None:
        agreed = shake([*GOOD, (b"sec-websocket-extensions", b"permessage-deflate")])
        assert agreed.extensions_field == "permessage-deflate; server_max_window_bits=12"

    @pytest.mark.parametrize("others", ["", "; client_max_window_bits", "; client_max_window_bits=8"])
    def test_an_offer_that_zlib_cannot_keep_to_is_declined_and_the_handshake_accepted(self, others: str) -> None:
        offer = f"permessage-deflate; server_max_window_bits=8{others}".encode()
        agreed = shake([*GOOD, (b"sec-websocket-extensions", offer)])
        assert agreed.accept
        assert agreed.extensions_field is None
        agreed = shake([*GOOD, (b"sec-websocket-extensions", offer + b", permessage-deflate")])
        assert agreed.extensions_field == "permessage-deflate; server_max_window_bits=12", "the next offer counts"

    def test_compression_can_be_switched_off(self) -> None:
        fields = [*GOOD, (b"sec-websocket-extensions", b"permessage-deflate")]
        assert shake(fields, compression=False).extensions_field is None

    @pytest.mark.parametrize(
        "offer", [b"x-webkit-deflate-frame", b"permessage-deflate; unknown=1", b"permessage-bzip2"]
    )
    def test_an_extension_that_is_not_known_is_not_used(self, offer: bytes) -> None:
        assert shake([*GOOD, (b"sec-websocket-extensions", offer)]).extensions_field is None


class TestRefusals:
    def test_another_method(self) -> None:
        error = refuse(GOOD, method="POST")
        assert error.status == 405
        assert error.fields == (("allow", "GET"),)

    def test_http_1_0(self) -> None:
        error = refuse(GOOD, version="1.0")
        assert error.status == 426
        assert "HTTP/1.1" in str(error)

    @pytest.mark.parametrize("value", [b"8", b"13, 8", b"014", b""])
    def test_another_version_is_told_which_one_is_spoken(self, value: bytes) -> None:
        error = refuse([*without(b"sec-websocket-version"), (b"sec-websocket-version", value)])
        assert error.status == 426
        assert ("sec-websocket-version", "13") in error.fields

    def test_no_version(self) -> None:
        assert refuse(without(b"sec-websocket-version")).status == 426

    def test_no_option_in_connection(self) -> None:
        error = refuse(without(b"connection"))
        assert error.status == 426
        assert "proxy" in str(error)

    @pytest.mark.parametrize(
        "value",
        [b"", b"short", b"dGhlIHNhbXBsZSBub25jZ", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZSE=", b"%%%"],
    )
    def test_a_malformed_key(self, value: bytes) -> None:
        error = refuse([*without(b"sec-websocket-key"), (b"sec-websocket-key", value)])
        assert error.status == 400
        assert "Sec-WebSocket-Key" in str(error)

    def test_no_key_and_two_keys(self) -> None:
        assert refuse(without(b"sec-websocket-key")).status == 400
        assert refuse([*GOOD, (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")]).status == 400

    @pytest.mark.parametrize("name", [b"sec-websocket-protocol", b"sec-websocket-extensions", b"connection"])
    def test_fields_that_cannot_be_understood(self, name: bytes) -> None:
        assert refuse([*GOOD, (name, b"a b; =,;")]).status == 400

    def test_nothing_of_what_the_client_sent_is_repeated(self) -> None:
        assert "<script>" not in str(refuse([*without(b"sec-websocket-key"), (b"sec-websocket-key", b"<script>")]))
