"""appserver.tls.context and .session: what a client and a server agree upon, and what an application is told of it.

Client and server shake hands through buffers in memory.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from appserver.settings import TLSSettings
from appserver.tls import ServerTLS, describe_session, read_material
from appserver.tls.session import distinguished_name
from tests.support.certificates import Authority, Issued

AUTHORITY = Authority()
LOCALHOST = AUTHORITY.issue("localhost")
OTHERS = AUTHORITY.issue("other.example", "*.wild.example")


def serve(directory: Path, **values: Any) -> ServerTLS:
    certificate, key = LOCALHOST.write(directory)
    other, other_key = OTHERS.write(directory, "others")
    names = ["Other.example", "*.wild.example"]
    sni = [{"name": name, "certificate": str(other), "key": str(other_key)} for name in names]
    defaults = {"certificate": str(certificate), "key": str(key), "sni": sni}
    settings = TLSSettings.model_validate(defaults | values)
    return ServerTLS(settings, read_material(settings), http2=False)


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Returns both ends, the server's first; raises the SSLError of whoever is not content."""
    buffers = [ssl.MemoryBIO() for _ in range(4)]
    here = server.wrap_bio(buffers[0], buffers[1], server_side=True)
    there = client.wrap_bio(buffers[2], buffers[3], server_hostname=name)
    for _ in range(6):
        for end in (there, here):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            buffers[0].write(buffers[3].read())
            buffers[2].write(buffers[1].read())
    return here, there


def shown_name(session: ssl.SSLObject) -> str:
    """The common name of the certificate that the server has shown."""
    subject: Any = (session.getpeercert() or {})["subject"]
    return str(subject[0][0][1])


class TestSelection:
    @pytest.mark.parametrize(
        ("asked", "shown"),
        [
            ("localhost", "localhost"),
            ("other.example", "other.example"),
            ("OTHER.example", "other.example"),
            ("a.wild.example", "other.example"),
            ("a.b.wild.example", "localhost"),
            ("wild.example", "localhost"),
            ("unknown.example", "localhost"),
            (None, "localhost"),
        ],
    )
    def test_a_client_gets_the_certificate_for_the_name_it_asks_for(
        self, tmp_path: Path, asked: str | None, shown: str
    ) -> None:
        client = AUTHORITY.client()
        client.check_hostname = False
        here, there = shake_hands(serve(tmp_path).context, client, asked)
        assert shown_name(there) == shown
        issued = LOCALHOST if shown == "localhost" else OTHERS
        assert describe_session(here)["server_cert"] == issued.certificate


def test_another_certificate_is_used_from_the_next_connection_on(tmp_path: Path) -> None:
    server = serve(tmp_path)
    before, _ = shake_hands(server.context, AUTHORITY.client())
    renewed = AUTHORITY.issue("localhost")
    certificate, key = renewed.write(tmp_path)
    server.renew(read_material(TLSSettings(certificate=certificate, key=key)))
    after, _ = shake_hands(server.context, AUTHORITY.client())
    assert describe_session(before)["server_cert"] == LOCALHOST.certificate
    assert describe_session(after)["server_cert"] == renewed.certificate


class TestAgreement:
    @pytest.mark.parametrize(("minimum", "spoken"), [("1.2", True), ("1.3", False)])
    def test_a_client_of_tls_1_2_is_served_if_that_is_allowed(self, tmp_path: Path, minimum: str, spoken: bool) -> None:
        client = AUTHORITY.client()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        server = serve(tmp_path, min_version=minimum)
        if spoken:
            here, _ = shake_hands(server.context, client)
            assert describe_session(here)["tls_version"] == 0x0303
        else:
            with pytest.raises(ssl.SSLError, match=r"unsupported protocol|protocol version"):
                shake_hands(server.context, client)

    def test_the_ciphers_are_those_that_are_set(self, tmp_path: Path) -> None:
        client = AUTHORITY.client()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        here, _ = shake_hands(serve(tmp_path, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305").context, client)
        assert describe_session(here)["cipher_suite"] == 0xCCA9

    @pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"])
    def test_a_client_that_knows_cbc_only_is_not_served(self, tmp_path: Path, cipher: str) -> None:
        client = AUTHORITY.client()
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(cipher)
        with pytest.raises(ssl.SSLError, match=r"no shared cipher|handshake failure"):
            shake_hands(serve(tmp_path).context, client)
        shake_hands(serve(tmp_path, ciphers=cipher).context, client)  # unless that is wanted

    def test_every_cipher_keeps_the_past_secret_and_authenticates(self, tmp_path: Path) -> None:
        context = serve(tmp_path).context
        names = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"]
        assert len(names) == 6
        assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in names)

    def test_http_1_1_is_what_is_spoken_above(self, tmp_path: Path) -> None:
        _, there = shake_hands(serve(tmp_path).context, AUTHORITY.client())
        assert there.selected_alpn_protocol() == "http/1.1"


class TestClients:
    def show(self, directory: Path, issued: Issued, verify: str) -> dict[str, Any]:
        """What the application is told of a client that shows this certificate."""
        server = serve(directory, client_ca=str(AUTHORITY.write(directory)), client_verify=verify)
        client = AUTHORITY.client(issued.write(directory, "client"))
        client.maximum_version = ssl.TLSVersion.TLSv1_2  # a server's verdict is part of the handshake there
        return describe_session(shake_hands(server.context, client)[0])

    @pytest.mark.parametrize("verify", ["optional", "required"])
    def test_one_with_a_certificate_is_known_by_it(self, tmp_path: Path, verify: str) -> None:
        names = [(NameOID.COUNTRY_NAME, "AT"), (NameOID.ORGANIZATION_NAME, 'A, "B" + C'), (NameOID.COMMON_NAME, " x ")]
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
        issued = AUTHORITY.issue("client", subject=subject)
        told = self.show(tmp_path, issued, verify)
        assert told["client_cert_chain"][0] == issued.certificate
        assert told["client_cert_name"] == r"CN=\ x\ ,O=A\, \"B\" \+ C,C=AT"
        assert told["client_cert_error"] is None

    def test_the_chain_that_it_sends_is_there_from_its_own_on(self, tmp_path: Path) -> None:
        issued = AUTHORITY.issue("client")
        told = self.show(tmp_path, Issued(issued.certificate + AUTHORITY.certificate, issued.key), "required")
        assert told["client_cert_chain"] == [issued.certificate, AUTHORITY.certificate]

    def test_one_of_another_authority_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ssl.SSLError, match=r"verify failed|unknown ca"):
            self.show(tmp_path, Authority("Somebody else").issue("client"), "optional")

    @pytest.mark.parametrize(("verify", "served"), [("none", True), ("optional", True), ("required", False)])
    def test_one_without_a_certificate_is_served_unless_it_has_to_have_one(
        self, tmp_path: Path, verify: str, served: bool
    ) -> None:
        server = serve(tmp_path, client_ca=str(AUTHORITY.write(tmp_path)), client_verify=verify)
        if served:
            told = describe_session(shake_hands(server.context, AUTHORITY.client())[0])
            assert (told["client_cert_chain"], told["client_cert_name"]) == ([], None)
        else:
            with pytest.raises(ssl.SSLError, match="did not return a certificate"):
                shake_hands(server.context, AUTHORITY.client())


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (((("commonName", "a"),),), "CN=a"),
        (((("countryName", "AT"),), (("commonName", "a"), ("userId", "7"))), "CN=a+UID=7,C=AT"),
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
        (((("commonName", "#1"),),), r"CN=\#1"),
        (((("commonName", " "),),), "CN=\\ "),
        (((("commonName", 'a\\b<c>;"\0'),),), r"CN=a\\b\<c\>\;\"\00"),
        ((), ""),
    ],
)
def test_a_name_is_written_as_rfc_4514_has_it(subject: Any, name: str) -> None:
    assert distinguished_name(subject) == name
