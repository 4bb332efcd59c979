"""Where a listener listens: the forms of `bind`, as types.

`parse_address` reads what an operator writes, `str(address)` writes it back in its one normal form.
"""

from __future__ import annotations

import ipaddress
import os
import re

_EXPECTED = "expected HOST:PORT, [v6]:PORT, unix:/path, fd://N or systemd:NAME"
# RFC 1123 section 2.1, and the underscore that container networks put into names.
_HOST_NAME = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?"
# sd_listen_fds_with_names(3): no colon, no control characters.
_DESCRIPTOR_NAME = r"[!-9;-~]{1,255}"
_UNIX_PATH_BYTES = 107  # sockaddr_un's sun_path (unix(7)), less the terminating NUL


class _Address:
    """Compares and shows itself by its kind and by what it names, and is not changed. A dataclass would take longer to be made."""

    __slots__: tuple[str, ...] = ()

    def _names(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._names() == self._names()

    def __hash__(self) -> int:
        return hash((type(self), *self._names()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._names()))})"


class TCPAddress(_Address):
    """A TCP port of a host name or IP address (without brackets); port 0 lets the kernel choose one."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(_Address):
    """A unix socket: a path of the file system, or after "@" a name in Linux' abstract space."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def is_abstract(self) -> bool:
        return self.path.startswith("@")

    def __str__(self) -> str:
        return f"unix:{self.path}"


class DescriptorAddress(_Address):
    """A listening socket that this process was started with, by its descriptor number."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __str__(self) -> str:
        return f"fd://{self.fd}"


class SystemdAddress(_Address):
    """A listening socket from systemd, by its FileDescriptorName=."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Address = TCPAddress | UnixAddress | DescriptorAddress | SystemdAddress


def parse_address(value: object) -> Address:
    """Return the address that `value` names; an `Address` is returned as it is.

    Raises ValueError, saying what is expected or what to write instead.
    """
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)
    if value.startswith("unix:"):
        return _unix(value.removeprefix("unix:"))
    if value.startswith("fd:"):
        return _descriptor(value)
    if value.startswith("systemd:"):
        name = value.removeprefix("systemd:")
        if not re.fullmatch(_DESCRIPTOR_NAME, name):
            raise ValueError("expected systemd:NAME with the FileDescriptorName= of a socket unit")
        return SystemdAddress(name)
    return _tcp(value)


def _unix(path: str) -> UnixAddress:
    if path.startswith("//"):
        raise ValueError(f"expected one slash: unix:/{path.lstrip('/')}")
    if not path.removeprefix("@") or path.endswith("/") or not path.isprintable():
        raise ValueError("expected unix:/path of a socket, or unix:@name of an abstract one")
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES:
        raise ValueError(f"expected a path of at most {_UNIX_PATH_BYTES} bytes, the kernel's limit for unix sockets")
    return UnixAddress(path)


def _descriptor(text: str) -> DescriptorAddress:
    match = re.fullmatch(r"fd://(\d{1,9})", text, re.ASCII)
    if match is None:
        raise ValueError("expected fd://N with the number of an inherited descriptor")
    return DescriptorAddress(int(match[1]))


def _tcp(text: str) -> TCPAddress:
    host, colon, port = text.rpartition(":")
    if not colon:
        if re.fullmatch(r"\d+", text, re.ASCII):
            raise ValueError(
                f"expected a host before the port: 127.0.0.1:{text}, or 0.0.0.0:{text} for every interface"
            )
        raise ValueError(_EXPECTED)
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError(f"{_EXPECTED}, with a port from 0 to 65535")
    return TCPAddress(_host(host, port), int(port))


def _host(host: str, port: str) -> str:
    if host in ("", "*"):
        raise ValueError(f"expected a host before the port: 0.0.0.0:{port} for every interface, [::]:{port} with IPv6")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1] if host.isprintable() else ""))
        except ValueError:
            raise ValueError(f"{_EXPECTED}; what stands in the brackets is no IPv6 address") from None
    if ":" in host:
        raise ValueError("expected [v6]:PORT: an IPv6 address in brackets, then the port")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"{_EXPECTED}; {host} is no IPv4 address") from None
    if len(host) > 253 or not re.fullmatch(_HOST_NAME, host, re.ASCII):
        raise ValueError(f"{_EXPECTED}; the host is neither a name nor an address")
    return host
