"""What only several values together, or the machine, can tell."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver.settings import Settings
from appserver.settings.checks import find
from appserver.settings.locations import Location, dotted, value_at
from appserver.settings.model import locations

TLS = {"listeners": [{"tls": True}]}
USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Be somebody to whom permissions apply: access(2) asks for the real user, who may be root."""
    real, _, _ = os.getresuid()
    os.setresuid(real or 65534, -1, -1)
    yield
    os.setresuid(real, -1, -1)


def found(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the checks find, as key and expectation, taking the keys of `values` as given."""
    values = {"app": {"target": "a:b"}} | values
    settings = Settings.model_validate(values)

    def is_given(location: Location) -> bool:
        try:
            value_at(location, values)
        except (KeyError, IndexError):
            return False
        return True

    given = list(filter(is_given, locations(settings)))
    return [(dotted(finding.location), finding.expected) for finding in find(settings, given)]


def app(**values: object) -> dict[str, Any]:
    return {"app": {"target": "a:b", **values}}


class TestFiles:
    def test_those_that_exist_are_fine(self, tmp_path: Path) -> None:
        file = tmp_path / "file.pem"
        file.write_text("A=1\n")
        path = str(file)
        tls = {"certificate": path, "key": path, "client_ca": path, "client_verify": "required"}
        sni = {"sni": [{"name": "x", "certificate": path, "key": path}]}
        logs = {"file": str(tmp_path / "new.log")}
        values = {"tls": tls | sni, "logging": logs, "access_log": logs, "admin": {"pid_file": str(tmp_path / "pid")}}
        values["listeners"] = [{"tls": "true"}, {"bind": "127.0.0.1:8001"}]
        assert found(app(directory=str(tmp_path), env_file=path) | values) == []

    @pytest.mark.parametrize("bind", ["0.0.0.0:80", "unix:/x", "localhost:80", "fd://3"])
    def test_dual_stack_is_for_ipv6(self, bind: str) -> None:
        assert found({"listeners": [{"bind": bind, "dual_stack": True}, {"bind": "[::]:81", "dual_stack": True}]}) == [
            ("listeners[0].dual_stack", "expected only with a [v6]:PORT bind")
        ]

    def test_a_certificate_that_no_listener_uses_is_found(self, tmp_path: Path) -> None:
        file = tmp_path / "file.pem"
        file.touch()
        assert found({"tls": {"certificate": str(file)}}) == [
            ("tls.certificate", "expected a listener with tls = true; none uses it")
        ]

    def test_every_one_that_is_missing_is_found(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing")
        below = f"{missing}/file"
        tls = {"certificate": missing, "key": missing, "client_ca": missing}
        sni = {"sni": [{"name": "x", "certificate": missing, "key": missing}]}
        logs = {"file": below}
        admin = {"pid_file": below, "control": below}
        values = {"tls": tls | sni, "logging": logs, "access_log": logs, "admin": admin}
        assert found(app(directory=missing, env_file=missing) | values) == [
            ("app.directory", "no such directory"),
            ("app.env_file", "no such file"),
            ("tls.certificate", "no such file"),
            ("tls.key", "no such file"),
            ("tls.client_ca", "no such file"),
            ("tls.sni[0].certificate", "no such file"),
            ("tls.sni[0].key", "no such file"),
            ("tls.client_ca", "expected tls.client_verify to go with it"),
            ("logging.file", f"no such directory: {missing}"),
            ("access_log.file", f"no such directory: {missing}"),
            ("admin.pid_file", f"no such directory: {missing}"),
            ("admin.control", f"no such directory: {missing}"),
        ]

    def test_a_directory_is_no_file_and_a_file_no_directory(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.touch()
        values = {"tls": {"certificate": str(tmp_path)}, "logging": {"file": str(tmp_path)}}
        assert found(app(directory=str(file), env_file=str(tmp_path)) | values) == [
            ("app.directory", "no such directory"),
            ("app.env_file", "cannot be read: Is a directory"),
            ("tls.certificate", "is a directory; expected a file"),
            ("logging.file", "is a directory; expected the path of a file"),
        ]

    def test_one_below_a_file_is_told_as_the_kernel_tells_it(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert found({"tls": {"certificate": str(tmp_path / "file" / "cert.pem")}}) == [
            ("tls.certificate", "cannot be read: Not a directory")
        ]

    @pytest.mark.usefixtures("ordinary_user")
    def test_one_that_may_not_be_read_is_found(self, tmp_path: Path) -> None:
        file = tmp_path / "key.pem"
        file.touch(mode=0o000)
        assert found({"tls": {"certificate": str(file)}}) == [("tls.certificate", "cannot be read: Permission denied")]

    def test_every_bad_line_of_the_environment_file_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "app.env").write_text("A\nB=1\nC\n")
        assert found(app(env_file=str(tmp_path / "app.env"))) == [
            ("app.env_file", "line 1: expected NAME=value"),
            ("app.env_file", "line 3: expected NAME=value"),
        ]

    def test_no_file_has_two_purposes(self, tmp_path: Path) -> None:
        log, pair = str(tmp_path / "log"), tmp_path / "pair.pem"
        pair.touch()
        (tmp_path / "link").symlink_to(log)
        logs = {"logging": {"file": log}, "access_log": {"file": log}}
        assert found(logs) == []
        assert found(logs | {"admin": {"pid_file": str(tmp_path / "link"), "control": log}}) == [
            ("admin.control", "already the file of admin.pid_file"),
            ("logging.file", "already the file of admin.pid_file"),
            ("access_log.file", "already the file of admin.pid_file"),
        ]
        assert ("access_log.file", "already the file of tls.certificate") in found(
            {"tls": {"certificate": str(pair)}, "access_log": {"file": str(pair)}}
        )
        assert found({"logging": {"file": "/dev/null"}, "admin": {"pid_file": "/dev/null"}}) == []


class TestListeners:
    def test_there_has_to_be_one(self) -> None:
        assert found({"listeners": []}) == [("listeners", "expected at least one listener")]

    def test_each_address_may_stand_there_once_in_whatever_spelling(self) -> None:
        binds = ["127.0.0.1:80", "[::1]:80", "unix:/x", "127.0.0.1:81", "[0:0::1]:80", "unix:/x", "127.0.0.1:80"]
        values = {"listeners": [{"bind": bind} for bind in binds], "admin": {"bind": "127.0.0.1:81"}}
        assert found(values) == [
            ("listeners[4].bind", "already the address of listeners[1].bind"),
            ("listeners[5].bind", "already the address of listeners[2].bind"),
            ("listeners[6].bind", "already the address of listeners[0].bind"),
            ("admin.bind", "already the address of listeners[3].bind"),
        ]

    def test_the_control_socket_has_a_path_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        values = {"listeners": [{"bind": "unix:@x"}, {"bind": f"unix:{tmp_path}/x"}, {"bind": "unix:./x"}]}
        assert found(values | {"admin": {"control": "x"}}) == [
            ("listeners[2].bind", "already the address of listeners[1].bind"),
            ("admin.control", "already the address of listeners[1].bind"),
        ]
        assert found(values | {"admin": {"control": "y"}}) == [
            ("listeners[2].bind", "already the address of listeners[1].bind")
        ]

    def test_port_0_may_stand_there_often(self) -> None:
        assert found({"listeners": [{"bind": "127.0.0.1:0"}] * 3}) == []

    def test_owner_and_mode_are_for_unix_sockets(self) -> None:
        file = {"mode": "0600", "user": USER, "group": GROUP}
        assert found({"listeners": [{"bind": "unix:/x", **file}]}) == []
        assert found({"listeners": [{"bind": "127.0.0.1:1", **file}]}) == [
            (f"listeners[0].{name}", "expected only with a unix: bind") for name in ("mode", "user", "group")
        ]

    def test_tls_needs_a_certificate(self) -> None:
        assert found({"listeners": [{"tls": True}]}) == [("listeners[0].tls", "expected tls.certificate to go with it")]

    @pytest.mark.parametrize(
        ("bind", "trusted", "needed"),
        [
            ("127.0.0.1:0", [], "the addresses of its proxies"),
            ("127.0.0.1:0", ["unix"], "the addresses of its proxies"),
            ("127.0.0.1:0", ["10.0.0.0/8", "unix"], None),
            ("127.0.0.1:0", ["*"], None),
            ("unix:/x", [], '"unix"'),
            ("unix:/x", ["127.0.0.1", "::1"], '"unix"'),
            ("unix:/x", ["unix"], None),
            ("unix:/x", ["*"], None),
            ("fd://3", [], "the addresses of its proxies"),
            ("fd://3", ["unix"], None),
        ],
    )
    def test_the_proxy_protocol_needs_somebody_who_may_speak_it(
        self, bind: str, trusted: list[str], needed: str | None
    ) -> None:
        values = {"listeners": [{"bind": bind, "proxy_protocol": True}], "proxy": {"trusted": trusted}}
        expected = f"expected {needed} in proxy.trusted to go with it; every connection would be closed"
        assert found(values) == ([] if needed is None else [("listeners[0].proxy_protocol", expected)])

    def test_each_name_has_one_certificate_in_whatever_case(self) -> None:
        names = ["a.example", "*.a.example", "A.Example", "b.example", "*.A.example"]
        sni = [{"name": name, "certificate": __file__, "key": __file__} for name in names]
        values = {"tls": {"certificate": __file__, "sni": sni}, "listeners": [{"tls": True}]}
        assert found(values) == [
            ("tls.sni[2].name", "already the name of tls.sni[0]"),
            ("tls.sni[4].name", "already the name of tls.sni[1]"),
        ]


class TestAccounts:
    def test_those_that_exist_are_fine(self) -> None:
        assert found({"workers": {"user": USER, "group": GROUP}}) == []

    def test_those_that_do_not_are_found(self) -> None:
        names = {"user": "no-such-name", "group": "no-such-name"}
        assert found({"workers": names, "listeners": [{"bind": "unix:/x", **names}]}) == [
            ("listeners[0].user", "no such user on this machine"),
            ("listeners[0].group", "no such group on this machine"),
            ("workers.user", "no such user on this machine"),
            ("workers.group", "no such group on this machine"),
        ]


class TestTogether:
    @pytest.mark.parametrize(
        ("values", "key", "needed"),
        [
            ({"tls": {"key": __file__}}, "tls.key", "tls.certificate"),
            ({"tls": {"client_verify": "optional"}}, "tls.client_verify", "tls.client_ca"),
            ({"tls": {"client_ca": __file__, "client_verify": "none"}}, "tls.client_ca", "tls.certificate"),
            (TLS | {"tls": {"certificate": __file__, "client_ca": __file__}}, "tls.client_ca", "tls.client_verify"),
            (
                {"tls": {"sni": [{"name": "x", "certificate": __file__, "key": __file__}]}},
                "tls.sni",
                "tls.certificate",
            ),
            ({"workers": {"queue_size": 1}}, "workers.queue_size", "workers.max_concurrency"),
            ({"workers": {"max_requests_jitter": 1}}, "workers.max_requests_jitter", "workers.max_requests"),
        ],
    )
    def test_what_means_nothing_without_another_needs_it(self, values: dict[str, Any], key: str, needed: str) -> None:
        assert found(values) == [(key, f"expected {needed} to go with it")]

    def test_with_the_other_it_is_fine(self) -> None:
        workers = {"queue_size": 1, "max_concurrency": 1, "max_requests": 1, "max_requests_jitter": 1}
        assert found({"workers": workers}) == []

    def test_client_certificates_may_be_switched_off_and_their_authority_be_left(self) -> None:
        tls = {"certificate": __file__, "client_ca": __file__, "client_verify": "none"}
        assert found(TLS | {"tls": tls}) == []

    def test_the_header_of_the_request_id_is_not_given_twice(self) -> None:
        headers = {"http": {"headers": ["X-A: 1", "X-Request-ID: 2"]}}
        assert found(headers) == [("http.headers[1]", "already the name of request_id.header")]
        assert found(headers | {"request_id": {"header": ""}}) == []
        assert found(headers | {"request_id": {"header": "x-trace"}}) == []


class TestTrio:
    def test_has_to_be_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        app = {"target": "a:b", "async_library": "trio", "directory": str(tmp_path)}
        assert found({"app": app}) == []
        monkeypatch.setattr("sys.path", [])
        [(key, expected)] = found({"app": app})
        assert (key, expected.split("[")[0]) == (
            "app.async_library",
            "expected trio to be installed: pip install 'appserver-asgi",
        )
        (tmp_path / "trio.py").touch()  # with the application
        assert found({"app": app}) == []

    def test_is_nothing_for_wsgi(self) -> None:
        [(key, _)] = found({"app": {"target": "a:b", "async_library": "trio", "interface": "wsgi"}})
        assert key == "app.async_library"
