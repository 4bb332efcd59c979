"""The way to a running server: HTTP over its control socket."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import select
import socket
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appserver.errors import ControlError
from appserver.files.kinds import exists
from appserver.telemetry.console import printable

_CREDENTIALS = "iII"  # struct ucred (unix(7)): pid, uid, gid

_MAX_ANSWER = 256 * 1024 * 1024
"""Octets of an answer; the stacks of a thousand busy workers are less."""

_STRANGE = "what answers there does not answer as appserver does"


class Answer(dict[str, Any]):
    """An object in an answer. A member that it lacks is an error for people: they have asked a server of another version."""

    def __missing__(self, name: str) -> Any:
        raise ControlError(
            f"the answer of the server has no {name!r}: is it appserver, of the version of this command?"
        )


class ControlClient:
    """Sends one command; every failure is a ControlError that says what to do."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        """`timeout`: seconds to wait for the server at each step; None for as long as it takes."""
        self._path = path
        self._timeout = timeout

    def get(self, target: str) -> Any:
        """The body of the server's answer: JSON as data, anything else as text."""
        return self._ask("GET", target, None)

    def look(self, target: str) -> Answer:
        """The same where the answer is an object."""
        return self._object(self.get(target))

    def post(self, target: str, body: Mapping[str, object] | None = None) -> Answer:
        """Have the server do something; returns its answer."""
        return self._object(self._ask("POST", target, json.dumps(body or {}).encode()))

    def _object(self, answer: Any) -> Answer:
        if not isinstance(answer, Answer):
            raise ControlError(f"{self._path}: {_STRANGE}")
        return answer

    def server_process(self) -> int | None:
        """A descriptor of the server's process (the caller's to close); None if it is not to be seen from here."""
        with self._connect() as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(_CREDENTIALS))
        pid, _, _ = struct.unpack(_CREDENTIALS, credentials)
        try:
            return os.pidfd_open(pid)
        except (OSError, ValueError):  # in another container, there is no such pid here
            return None

    def _ask(self, method: str, target: str, body: bytes | None) -> Any:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self._connect()
        try:
            connection.request(method, target, body=body, headers={"Connection": "close"})
            response = connection.getresponse()
            octets = response.read(_MAX_ANSWER + 1)
            if response.length and len(octets) <= _MAX_ANSWER:
                raise http.client.IncompleteRead(octets, response.length)
        except TimeoutError:
            raise ControlError(f"{self._path}: the server does not answer within {self._timeout:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            reason = printable(str(error).strip())
            raise ControlError(f"{self._path}: the server has gone without an answer ({reason})") from None
        finally:
            connection.close()
        if len(octets) > _MAX_ANSWER:
            raise ControlError(f"{self._path}: {_STRANGE}: its answer has no end")
        text = octets.decode(errors="replace")
        is_json = response.headers.get_content_type() == "application/json"
        try:
            answer = json.loads(text, object_hook=Answer) if is_json else text.strip()
        except (ValueError, RecursionError):
            raise ControlError(f"{self._path}: {_STRANGE}") from None
        if response.status >= 300:
            raise Refused(response.status, answer)
        return answer

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise ControlError(f"{self._path}: {self._explain(error)}") from None
        return connection

    def _explain(self, error: OSError) -> str:
        match error:
            case FileNotFoundError():
                return "no such socket: the server is not running, or has another one (admin.control)"
            case ConnectionRefusedError() if not self._is_socket():
                return "is no socket; expected the path of admin.control"
            case ConnectionRefusedError():
                return "nobody listens there any more: the server is not running"
            case PermissionError():
                return f"not permitted: run this as {self._owner()}"
            case TimeoutError() | BlockingIOError():
                return "the server does not accept the connection"
        return error.strerror or str(error)

    def _is_socket(self) -> bool:
        return stat.S_ISSOCK(self._path.stat().st_mode)

    def _owner(self) -> str:
        """The users that may use the socket, for people."""
        try:
            uid = self._path.stat().st_uid
        except OSError:
            return "the user of the server, or as root"
        if uid == 0:
            return "root"
        try:
            return f"{pwd.getpwuid(uid).pw_name} or as root"
        except KeyError:
            return f"uid {uid} or as root"


class Refused(ControlError):
    """The server answered with an error; `answer` is its body, as data if it is JSON."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(
            "\n".join(map(printable, answer.splitlines())) if isinstance(answer, str) else json.dumps(answer)
        )
        self.status = status
        self.answer = answer


def is_answering(path: Path) -> bool:
    """Whether somebody listens at this path; also true where we may not ask, which the command will then be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except PermissionError:
            return exists(path)
        except TimeoutError:
            return True
        except OSError:  # too long for the kernel
            return False
    return True


def wait_for_end(process: int) -> None:
    """Wait until a process, by its descriptor, has come to its end; closes the descriptor."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    try:
        poll.poll()
    finally:
        os.close(process)
