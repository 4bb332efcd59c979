"""nginx and HAProxy, run with the configurations in deploy/: the same files, with other addresses and paths."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.address import Address
from tests.support.certificates import Authority, Issued
from tests.support.waiting import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"


class Proxy:
    """A proxy in a directory of its own, from `with` to the end of the block.

    `authority` has signed its certificate, which is for localhost, and the one that it shows to the servers behind it.
    """

    program: str
    configuration: str

    def __init__(self, directory: Path, authority: Authority, replaced: Mapping[str, str]) -> None:
        """`replaced`: what stands in the configuration for the addresses of this test, and these."""
        path = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if path is None:
            pytest.skip(f"needs {self.program} (Debian package {self.program})")
        self._path = path
        self.directory = directory
        directory.mkdir()
        self.plain, self.encrypted, self.other = (Address("127.0.0.1", port) for port in free_ports(3))
        self._write(authority, authority.issue("localhost", "127.0.0.1"))
        text = (DEPLOY / self.configuration).read_text()
        for old, new in {**self._own(), **replaced}.items():
            assert old in text, f"{old!r} is not in deploy/{self.configuration}"
            text = text.replace(old, new)
        (directory / self.configuration).write_text(text)
        self._log = (directory / "log").open("ab")

    def _write(self, authority: Authority, issued: Issued) -> None:
        authority.write(self.directory)
        issued.write(self.directory, "proxy")
        (self.directory / "proxy.pem").write_text(issued.certificate + issued.key)

    def _own(self) -> dict[str, str]:
        """What has to be replaced wherever it runs as a test."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        try:
            eventually(self._listens, f"{self.program} listens")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._log.close()
            for log in sorted(self.directory.glob("*log")):
                print(f"--- {log}:\n{log.read_text(errors='replace')[-4000:]}")

    def _listens(self) -> bool:
        assert self._process.poll() is None, f"{self.program} has exited: {(self.directory / 'log').read_text()}"
        try:
            self.encrypted.connect(1).close()
        except OSError:
            return False
        return True

    def reload(self) -> None:
        """Have it read its configuration again, with new processes."""
        raise NotImplementedError


class Nginx(Proxy):
    """nginx."""

    program = "nginx"
    configuration = "nginx.conf"

    def _own(self) -> dict[str, str]:
        temporary = "".join(
            f"    {name}_temp_path {self.directory}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return {
            "user www-data;": "user root;" if os.getuid() == 0 else "",
            "/run/nginx.pid": f"{self.directory}/pid",
            "/var/log/nginx/error.log": f"{self.directory}/error_log",
            "/var/log/nginx/access.log": f"{self.directory}/access_log",
            "http {\n": f"http {{\n{temporary}",
            "listen 80 ": f"listen {self.plain} ",
            "listen 443 ": f"listen {self.encrypted} ",
            "/etc/ssl/certs/example.org.crt": f"{self.directory}/proxy.crt",
            "/etc/ssl/private/example.org.key": f"{self.directory}/proxy.key",
            "/etc/ssl/certs/internal-authority.crt": f"{self.directory}/authority.crt",
            "/etc/ssl/certs/proxy.crt": f"{self.directory}/proxy.crt",
            "/etc/ssl/private/proxy.key": f"{self.directory}/proxy.key",
        }

    def _command(self) -> list[str]:
        own = ["-e", f"{self.directory}/error_log", "-p", str(self.directory)]
        return [self._path, *own, "-c", f"{self.directory}/nginx.conf", "-g", "daemon off;"]

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)


class HAProxy(Proxy):
    """HAProxy."""

    program = "haproxy"
    configuration = "haproxy.cfg"

    def _own(self) -> dict[str, str]:
        return {
            "    user haproxy\n    group haproxy\n": "",
            "log /dev/log local0": "log stderr format raw local0",
            "/run/haproxy/admin.sock": f"{self.directory}/admin.sock",
            "bind :80\n": f"bind {self.plain}\n",
            "bind :443 ": f"bind {self.encrypted} ",
            "bind :8443\n": f"bind {self.other}\n",
            "/etc/haproxy/example.org.pem": f"{self.directory}/proxy.pem",
            "/etc/haproxy/internal-authority.crt": f"{self.directory}/authority.crt",
            "/etc/haproxy/proxy.pem": f"{self.directory}/proxy.pem",
        }

    def _command(self) -> list[str]:
        return [self._path, "-W", "-f", f"{self.directory}/haproxy.cfg"]

    def reload(self) -> None:
        self._process.send_signal(signal.SIGUSR2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment: proxies are told theirs, they do not tell them.

    They are below those that the kernel gives to clients and to servers that ask for port 0 (ip(7), ip_local_port_range):
    other tests, which do that all the time, do not take them before a proxy does.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        # Of `random` two processes may have the same numbers.
        port = secrets.choice(range(10_000, max(first, 11_000)))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
