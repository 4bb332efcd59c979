"""Checks that need more than one value: values that contradict each other, files and accounts that do not exist.

The checks look at the machine, but change nothing on it and bind nothing.
"""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from appserver.distribution import how_to_install
from appserver.errors import SettingsError
from appserver.files.kinds import destination, exists, is_directory, is_regular
from appserver.settings.address import TCPAddress, UnixAddress, parse_address
from appserver.settings.env_file import read_env_file
from appserver.settings.locations import Location, dotted
from appserver.settings.logging_config import mistakes, read_logging_config
from appserver.settings.model import AppSettings, Settings


class Finding(NamedTuple):
    """A value that does not fit, what to do about it, and the other values that this depends on."""

    location: Location
    expected: str
    depends: tuple[Location, ...] = ()


def find(settings: Settings, given: Collection[Location]) -> Iterator[Finding]:
    """Yield what does not fit; `given` are the locations of the values that are not just defaults."""
    return itertools.chain(
        _application(settings),
        _listeners(settings, given),
        _tls(settings, given),
        _workers(settings),
        _files(settings),
        _logging(settings),
        _control_socket(settings),
        _headers(settings),
    )


def _application(settings: Settings) -> Iterator[Finding]:
    app = settings.app
    if trouble := _directory_trouble(app.directory):
        yield Finding(("app", "directory"), trouble)
    if app.env_file is not None:
        try:
            read_env_file(app.env_file)
        except SettingsError as error:
            for problem in error.problems:
                yield Finding(("app", "env_file"), problem.expected)
    if app.async_library == "trio":
        yield from _trio(app)


def _trio(app: AppSettings) -> Iterator[Finding]:
    location: Location = ("app", "async_library")
    if app.interface == "wsgi":
        yield Finding(location, "expected no WSGI application with it: these run in threads", (("app", "interface"),))
    elif PathFinder.find_spec("trio", [str(app.directory), *sys.path]) is None:
        yield Finding(location, f"expected trio to be installed: {how_to_install('trio')}")


def _listeners(settings: Settings, given: Collection[Location]) -> Iterator[Finding]:
    if not settings.listeners:
        yield Finding(("listeners",), "expected at least one listener")
    taken: dict[object, Location] = {}
    for index, listener in enumerate(settings.listeners):
        location: Location = ("listeners", index, "bind")
        if not isinstance(listener.bind, UnixAddress):
            for name in ("mode", "user", "group"):
                if ("listeners", index, name) in given:
                    yield Finding(("listeners", index, name), "expected only with a unix: bind", (location,))
        if listener.dual_stack and not (isinstance(listener.bind, TCPAddress) and ":" in listener.bind.host):
            yield Finding(("listeners", index, "dual_stack"), "expected only with a [v6]:PORT bind", (location,))
        yield from _account(("listeners", index, "user"), listener.user)
        yield from _account(("listeners", index, "group"), listener.group, is_group=True)
        if listener.tls and settings.tls.certificate is None:
            yield Finding(
                ("listeners", index, "tls"), "expected tls.certificate to go with it", (("tls", "certificate"),)
            )
        if listener.proxy_protocol and not _may_be_trusted(listener.bind, settings.proxy.trusted):
            peers = '"unix"' if isinstance(listener.bind, UnixAddress) else "the addresses of its proxies"
            yield Finding(
                ("listeners", index, "proxy_protocol"),
                f"expected {peers} in proxy.trusted to go with it; every connection would be closed",
                (("proxy", "trusted"),),
            )
        yield from _duplicate(location, listener.bind, taken)
    if settings.admin.bind is not None:
        yield from _duplicate(("admin", "bind"), settings.admin.bind, taken)
    if (control := _control(settings)) is not None:
        yield from _duplicate(("admin", "control"), UnixAddress(str(control.absolute())), taken)


def _may_be_trusted(bind: object, trusted: Iterable[str]) -> bool:
    """Whether there can be a peer at this address that is trusted; what is inherited may be of any kind."""
    if isinstance(bind, UnixAddress):
        return any(entry in ("*", "unix") for entry in trusted)
    return any(entry != "unix" or not isinstance(bind, TCPAddress) for entry in trusted)


def _duplicate(location: Location, bind: object, taken: dict[object, Location]) -> Iterator[Finding]:
    if isinstance(bind, TCPAddress) and bind.port == 0:
        return  # the kernel chooses a different port for each
    if isinstance(bind, UnixAddress) and not bind.is_abstract:
        bind = UnixAddress(str(Path(bind.path).absolute()))
    if bind in taken:
        yield Finding(location, f"already the address of {dotted(taken[bind])}", (taken[bind],))
    taken.setdefault(bind, location)


def _tls(settings: Settings, given: Collection[Location]) -> Iterator[Finding]:
    tls = settings.tls
    for name in ("certificate", "key", "client_ca"):
        path: Path | None = getattr(tls, name)
        trouble = path and _file_trouble(path)
        if trouble:
            yield Finding(("tls", name), trouble)
        elif name == "certificate" and path and not any(listener.tls for listener in settings.listeners):
            yield Finding(("tls", name), "expected a listener with tls = true; none uses it", (("listeners",),))
    taken: dict[str, Location] = {}
    for index, sni in enumerate(tls.sni):
        first = taken.setdefault(sni.name, ("tls", "sni", index, "name"))
        if first[2] != index:
            yield Finding(("tls", "sni", index, "name"), f"already the name of {dotted(first[:3])}", (first,))
        for name in ("certificate", "key"):
            trouble = _file_trouble(getattr(sni, name))
            if trouble:
                yield Finding(("tls", "sni", index, name), trouble)
    for name in ("key", "client_ca", "sni"):
        if getattr(tls, name) and tls.certificate is None:
            yield Finding(("tls", name), "expected tls.certificate to go with it", (("tls", "certificate"),))
    verify: Location = ("tls", "client_verify")
    if tls.client_ca is not None and verify not in given:  # "none" that somebody has written is meant
        yield Finding(("tls", "client_ca"), "expected tls.client_verify to go with it", (verify,))
    if tls.client_verify != "none" and tls.client_ca is None:
        yield Finding(verify, "expected tls.client_ca to go with it", (("tls", "client_ca"),))


def _workers(settings: Settings) -> Iterator[Finding]:
    workers = settings.workers
    yield from _account(("workers", "user"), workers.user)
    yield from _account(("workers", "group"), workers.group, is_group=True)
    for name, needed in (("queue_size", "max_concurrency"), ("max_requests_jitter", "max_requests")):
        if getattr(workers, name) and not getattr(workers, needed):
            yield Finding(("workers", name), f"expected workers.{needed} to go with it", (("workers", needed),))


def _files(settings: Settings) -> Iterator[Finding]:
    for location, path in (
        (("logging", "file"), settings.logging.file),
        (("access_log", "file"), settings.access_log.file),
        (("admin", "pid_file"), settings.admin.pid_file),
        (("admin", "control"), _control(settings)),
    ):
        if path is not None and is_directory(path):
            yield Finding(location, "is a directory; expected the path of a file")
        elif path is not None and (trouble := _directory_trouble(path.parent)):
            yield Finding(location, f"{trouble}: {path.parent}")
    yield from _shared_files(settings)


def _shared_files(settings: Settings) -> Iterator[Finding]:
    """What is written, where another setting has a file already; the two logs may go to one."""
    taken: dict[Path, Location] = {}
    read: list[tuple[Location, Path | None]] = [
        (("app", "env_file"), settings.app.env_file),
        (("logging", "config_file"), settings.logging.config_file),
        *((("tls", name), getattr(settings.tls, name)) for name in ("certificate", "key", "client_ca")),
        *(
            (("tls", "sni", index, name), getattr(sni, name))
            for index, sni in enumerate(settings.tls.sni)
            for name in ("certificate", "key")
        ),
    ]
    for location, path in read:
        if path is not None:
            taken.setdefault(destination(path), location)
    for location, path in (
        (("admin", "pid_file"), settings.admin.pid_file),
        (("admin", "control"), _control(settings)),
        (("logging", "file"), settings.logging.file),
        (("access_log", "file"), settings.access_log.file),
    ):
        if path is None or not is_directory(path.parent) or (exists(path) and not is_regular(path)):
            continue  # it cannot be written, or is a device, which any number of them may have
        other = taken.setdefault(destination(path), location)
        if other != location and other != ("logging", "file"):
            yield Finding(location, f"already the file of {dotted(other)}", (other,))


def _logging(settings: Settings) -> Iterator[Finding]:
    config, path = settings.logging.config, settings.logging.config_file
    if config and path is not None:
        yield Finding(("logging", "config_file"), "expected only one of logging.config and logging.config_file")
        return
    document: Mapping[str, object] | str = config
    if path is not None:
        try:
            document = read_logging_config(path)
        except SettingsError as error:
            for problem in error.problems:
                yield Finding(("logging", "config_file"), problem.expected)
            return
    if document and not isinstance(document, str):
        for key, reason in mistakes(document):
            yield Finding(("logging", "config" if path is None else "config_file"), f"{key}: {reason}")


def _control_socket(settings: Settings) -> Iterator[Finding]:
    path = _control(settings)
    if path is None or is_directory(path):
        return
    try:
        address = parse_address(f"unix:{path}")
    except ValueError as error:
        yield Finding(("admin", "control"), str(error))
    else:
        if address == UnixAddress(str(path)) and str(path).startswith("@"):
            yield Finding(("admin", "control"), f"expected the path of a file; for one of this name: ./{path}")


def _headers(settings: Settings) -> Iterator[Finding]:
    own = settings.request_id.header
    for index, (name, _) in enumerate(settings.http.headers):
        if name.lower() == own.lower():
            yield Finding(
                ("http", "headers", index), "already the name of request_id.header", (("request_id", "header"),)
            )


def _control(settings: Settings) -> Path | None:
    """Return the path of the control socket that somebody has written; others are made to fit."""
    return settings.admin.control if isinstance(settings.admin.control, Path) else None


def _account(location: Location, name: str | None, *, is_group: bool = False) -> Iterator[Finding]:
    try:
        if name is not None and is_group:
            grp.getgrnam(name)
        elif name is not None:
            pwd.getpwnam(name)
    except KeyError:
        yield Finding(location, f"no such {'group' if is_group else 'user'} on this machine")


def _directory_trouble(path: Path) -> str | None:
    """Say why a place is no directory; None if it is one."""
    try:
        return None if stat.S_ISDIR(path.stat().st_mode) else "no such directory"
    except PermissionError:
        return "a directory that may not be looked into"
    except OSError:
        return "no such directory"


def _file_trouble(path: Path) -> str | None:
    """Say why a file cannot be read; None if it can."""
    try:
        status = path.stat()
    except OSError as error:
        return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(status.st_mode):
        return "is a directory; expected a file"
    return None if os.access(path, os.R_OK) else "cannot be read: Permission denied"
