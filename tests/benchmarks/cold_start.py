"""The cost of a cold start on Lambda: `python -m tests.benchmarks.cold_start`.

The same FastAPI application with one route, under `appserver lambda` and with Mangum under `awslambdaric`, in turns, in an environment
that holds what a function holds. For each, the median over the rounds of the CPU time in milliseconds from exec to the moment at which it asks
for the first invocation (`next`), and to its first answer. "FastAPI" imports the application, asks, and does nothing else: nobody can
start in less.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Self

from tests.benchmarks.servers import ROOT
from tests.unit.aws import events

APPLICATION = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/{rest:path}")
async def answer(rest: str, name: str = "nobody") -> dict[str, str]:
    return {"rest": rest, "name": name}
"""
HANDLER = "from mangum import Mangum\nfrom main import app\n\nhandler = Mangum(app)\n"
BARE = """
import os, socket
import main

host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
wire = socket.create_connection((host, int(port)))
wire.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\n\\r\\n")
wire.recv(1 << 20)
wire.sendall(b"POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\\r\\n\\r\\n")
wire.recv(1 << 20)
"""
STARTS: dict[str, tuple[str, ...]] = {
    "appserver": ("-m", "appserver", "lambda", "main:app"),
    "Mangum": ("-m", "awslambdaric", "handler.handler"),
    "FastAPI": ("-c", BARE),
}
EVENT = json.dumps(events.HTTP).encode()
TIMEOUT = 30.0


class RuntimeAPI:
    """As much of Lambda's Runtime API as a start needs: one invocation, and its answer."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._received: dict[socket.socket, bytes] = {}
        self.address = "{}:{}".format(*self._listener.getsockname())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (*self._received, self._listener):
            sock.close()
        self._selector.close()

    def wait_for(self, path: str) -> None:
        """Answer requests up to the first one whose path ends in `path`, which is answered as well."""
        while True:
            ready = self._selector.select(TIMEOUT)
            if not ready:
                raise TimeoutError(f"nobody has asked for {path}; there is {self._received}")
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._listener:
                    connection, _ = sock.accept()
                    self._selector.register(connection, selectors.EVENT_READ)
                    self._received[connection] = b""
                elif self._read(sock).endswith(path):
                    return

    def _read(self, sock: socket.socket) -> str:
        """Take what has come, and answer it if that is a whole request; returns its path, or nothing."""
        data = sock.recv(1 << 20)
        if not data:
            self._selector.unregister(sock)
            return ""
        self._received[sock] += data
        head, separator, body = self._received[sock].partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        whole = body.endswith(b"0\r\n\r\n") if chunked else len(body) >= int(fields.get(b"content-length", b"0"))
        if not separator or not whole:
            return ""
        self._received[sock] = b""
        path = head.split(b" ", 2)[1].decode()
        if path.endswith("/invocation/next"):
            sock.sendall(_answer(EVENT))
        elif not path.endswith("/event/next"):
            sock.sendall(_answer(b"{}"))
        return path


def _answer(body: bytes) -> bytes:
    fields = (
        "Lambda-Extension-Identifier: 1",
        "Lambda-Runtime-Aws-Request-Id: 1",
        "Lambda-Runtime-Deadline-Ms: 9999999999999",
        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:start",
        "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1",
        "Lambda-Runtime-Client-Context: {}",
        "Lambda-Runtime-Cognito-Identity: {}",
        "Lambda-Runtime-Aws-Tenant-Id: 1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(("HTTP/1.1 200 OK", *fields, "", "")).encode() + body


def environment(cache: Path) -> str:
    """Install what a function holds, each time anew what is ours; returns the path of the interpreter."""
    home = cache / "cold-start"
    python = home / "bin" / "python"
    shared = [f"{name}=={version(name)}" for name in ("fastapi", "mangum", "pydantic", "starlette")]
    wanted = " ".join(["awslambdaric", *shared, sys.version])
    done = home / "installed"
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    if not (done.exists() and done.read_text() == wanted):
        print(f"installing FastAPI, Mangum and awslambdaric into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([*pip, "awslambdaric", *shared], check=True)
        done.write_text(wanted)
    with tempfile.TemporaryDirectory() as scratch:  # without the caches of the checkout, and with bytecode made by pip
        source = Path(scratch, "source")
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv*", ".cache", "__pycache__", "tests"))
        subprocess.run([*pip, "--force-reinstall", "--no-deps", str(source)], check=True)
        subprocess.run([*pip, str(source)], check=True)
    return str(python)


def measure(python: str, arguments: tuple[str, ...], directory: Path) -> tuple[float, float]:
    """Start once; returns the CPU time in milliseconds up to `next`, and up to the first answer."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("APPSERVER_", "AWS_", "PYTHON"))
    }
    with RuntimeAPI() as api:
        variables = {
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_FUNCTION_NAME": "start",
            "LAMBDA_TASK_ROOT": str(directory),
            "_HANDLER": "handler.handler",
        }
        process = subprocess.Popen(
            [python, *arguments], cwd=directory, env=inherited | variables, stdout=subprocess.DEVNULL
        )
        try:
            times = []
            for path in ("/invocation/next", "/response"):
                api.wait_for(path)
                times.append(int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e6)
        finally:
            process.kill()
            process.wait()
    return times[0], times[1]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cold_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", metavar="DIR")
    options = parser.parse_args()
    python = environment(options.cache)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in STARTS}
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "main.py").write_text(APPLICATION)
        (directory / "handler.py").write_text(HANDLER)
        for number in range(options.rounds + 1):
            for name, arguments in STARTS.items():
                taken = measure(python, arguments, directory)
                if number:  # the first round makes the bytecode
                    times[name].append(taken)
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)] for name, found in times.items()
    }
    print("| CPU, ms | next | of Mangum's | first answer | of Mangum's |\n|---|---|---|---|---|")
    for name, (asked, answered) in medians.items():
        ratios = asked / medians["Mangum"][0], answered / medians["Mangum"][1]
        print(f"| {name} | {asked:.0f} | {ratios[0]:.2f} | {answered:.0f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
