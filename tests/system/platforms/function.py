"""A function in a container, as Lambda runs it: what it sees of the file system can be read only, but for /tmp.

A user of its own runs it, without privileges, in the environment that Lambda documents: there is no HOME, and the time zone
is ":UTC". `UnderEmulator` has AWS's emulator around it, and no network but loopback; `UnderRuntimeAPI` speaks to the API of
`tests.support.runtime_api`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.runtime_api import RuntimeAPI
from tests.support.runtime_interface import PATH
from tests.support.waiting import eventually
from tests.system.platforms.engine import Contained, Engine

USER = "993:990"

ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_NAME": "shop",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/shop",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/30/[$LATEST]0123456789abcdef0123456789abcdef",
    "AWS_REGION": "eu-central-1",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LANG": "en_US.UTF-8",
    "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "TZ": ":UTC",
}

_OPTIONS = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:rw,size=64m",
    f"--user={USER}",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)

# The variables that podman sets by itself.
_FORGET = 'unset HOME HOSTNAME TERM container && exec "$@"'

# Sends its standard input to the emulator, and prints the answer. Run in the network of the container.
_INVOKE = """
import sys, urllib.request
with urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], sys.stdin.buffer.read(), timeout=60) as response:
    sys.stdout.buffer.write(response.read())
"""
_IS_UP = "import socket; socket.create_connection(('127.0.0.1', 8080)).close()"


class Function(Contained):
    """A function that runs with the block. `image` is one, or a directory that has the root of its file system."""

    def __init__(
        self,
        engine: Engine,
        image: str | Path,
        name: str,
        command: Sequence[str],
        *options: str,
        environment: Mapping[str, str],
        network: str = "host",
    ) -> None:
        entrypoint = json.dumps(["sh", "-c", _FORGET, "sh", *command])
        super().__init__(
            engine,
            str(image),
            name,
            *_OPTIONS,
            *options,
            f"--entrypoint={entrypoint}",
            *(("--rootfs",) if isinstance(image, Path) else ()),
            environment=environment,
            network=network,
        )

    @property
    def text(self) -> str:
        """All that it has printed."""
        return f"{self.log.text}\n{self.output.text}"

    @property
    def records(self) -> list[dict[str, Any]]:
        return [*self.log.records, *self.output.records]


class UnderEmulator(Function):
    """A function that `aws-lambda-rie` runs, which starts it with the first event."""

    def __init__(
        self,
        engine: Engine,
        emulator: Path,
        image: str | Path,
        name: str,
        command: Sequence[str],
        *options: str,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`command` is the program of the function; where there is none the emulator looks for `bootstrap`, as Lambda does."""
        volume = f"--volume={emulator}:/aws-lambda/aws-lambda-rie:ro"
        words = ("/aws-lambda/aws-lambda-rie", *command)
        environment = {**ENVIRONMENT, **(settings or {})}
        super().__init__(engine, image, name, words, volume, *options, environment=environment, network="none")

    def _wait_until_up(self) -> None:
        eventually(lambda: self._ask(_IS_UP).returncode == 0, "the emulator listens")

    def invoke(self, event: Any) -> bytes:
        """Have an event answered: with JSON, or with prelude and body as they were sent."""
        result = self._ask(_INVOKE, PATH, stdin=json.dumps(event).encode())
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout

    def _ask(self, program: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["nsenter", f"--target={self.pid}", "--net", sys.executable, "-c", program, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=90, check=False)

    def peak_memory(self) -> int:
        """The most octets that the process of the function has had in memory."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()  # of the emulator, any of which may have started it
        [child] = [child for thread in threads for child in (thread / "children").read_text().split()]
        status = Path(f"/proc/{child}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


class UnderRuntimeAPI(Function):
    """A function that asks an API of ours for events."""

    def __init__(
        self,
        engine: Engine,
        api: RuntimeAPI,
        image: str | Path,
        name: str,
        command: Sequence[str],
        *options: str,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        given = {**ENVIRONMENT, "AWS_LAMBDA_RUNTIME_API": api.address, **(settings or {})}
        super().__init__(engine, image, name, command, *options, environment=given)

    def _wait_until_up(self) -> None:
        """It asks for an event when it is."""
