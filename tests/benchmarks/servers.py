"""How each server is installed and started: one worker, uvloop, its fastest documented options.

Every peer lives in a virtual environment of its own, made with the interpreter that runs the benchmarks and with the
same versions of uvloop and httptools, so that servers are compared and not their dependencies.
"""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.applications import FILES
from tests.benchmarks.workloads import Workload
from tests.support import toml

ROOT = Path(__file__).parents[2]
SHARED_REQUIREMENTS = ("uvloop", "httptools", "fastapi", "websockets")


@dataclass(frozen=True)
class Run:
    """What a command line is made from. Servers that log to standard output or error have it in a file anyway."""

    python: str
    port: int
    workload: Workload
    directory: Path

    @property
    def bind(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What wrk asks for."""
        return f"{'https' if self.workload.tls else 'http'}://{self.bind}{self.workload.path}"

    @property
    def certificate(self) -> Path:
        """For TLS: the certificate, which is for localhost."""
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        """For TLS: the private key."""
        return self.directory / "server.key"

    def tls(self, certificate: str, key: str) -> list[str]:
        """For TLS: the options by which a server is told the files."""
        return [certificate, str(self.certificate), key, str(self.key)] if self.workload.tls else []

    @property
    def access_log_file(self) -> str:
        """Where the access log goes."""
        return str(self.directory / "access.log")


@dataclass(frozen=True)
class Server:
    """A server: what to install (nothing for those of this environment) and how to start it."""

    name: str
    command: Callable[[Run], list[str]]
    requirement: str = ""
    takes: Callable[[Workload], bool] = lambda workload: not (workload.file_size or workload.trio)
    """Which workloads it can do."""


def _appserver(run: Run) -> list[str]:
    settings = run.directory / "server.toml"
    access_log = {"enabled": run.workload.access_log, "format": "json", "file": run.access_log_file}
    files = {"tls": {"certificate": str(run.certificate), "key": str(run.key)}} if run.workload.tls else {}
    settings.write_text(
        toml.dumps(
            {
                "app": {
                    "target": run.workload.application,
                    "async_library": "trio" if run.workload.trio else "asyncio",
                },
                "listeners": [{"bind": run.bind, "tls": run.workload.tls}],
                **files,
                "workers": {"count": 1},
                "proxy": {"trusted": ["127.0.0.1"]},
                "access_log": access_log if run.workload.access_log else {"enabled": False},
            }
        )
    )
    return [run.python, "-m", "appserver", "--config", str(settings)]


def _uvicorn(run: Run) -> list[str]:
    log = "--access-log" if run.workload.access_log else "--no-access-log"
    parser = ["zttp", "--http2"] if run.workload.http2 else ["httptools"]
    options = ["--loop", "uvloop", "--http", *parser, log, "--no-use-colors"]
    options += run.tls("--ssl-certfile", "--ssl-keyfile")
    return [run.python, "-m", "uvicorn", run.workload.application, "--port", str(run.port), *options]


def _granian(run: Run) -> list[str]:
    log = "--access-log" if run.workload.access_log else "--no-access-log"
    options = ["--interface", "asgi", "--loop", "uvloop", "--http", "auto" if run.workload.http2 else "1", log]
    options += [] if run.workload.message_size else ["--no-ws"]
    options += run.tls("--ssl-certificate", "--ssl-keyfile")
    return [run.python, "-m", "granian", "--port", str(run.port), *options, run.workload.application]


def _gunicorn(run: Run) -> list[str]:
    log = ["--access-logfile", run.access_log_file] if run.workload.access_log else []
    options = ["-k", "asgi", "--asgi-loop", "uvloop", "--no-control-socket", "-w", "1", *log]
    options += ["--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge"] if run.workload.http2 else []
    options += run.tls("--certfile", "--keyfile")
    return [run.python, "-m", "gunicorn", "-b", run.bind, *options, run.workload.application]


def _hypercorn(run: Run) -> list[str]:
    log = ["--access-logfile", run.access_log_file] if run.workload.access_log else []
    kind = "trio" if run.workload.trio else "uvloop"
    options = ["-k", kind, "-w", "1", *log, *run.tls("--certfile", "--keyfile")]
    return [run.python, "-m", "hypercorn", "-b", run.bind, *options, run.workload.application]


def _h2corn(run: Run) -> list[str]:
    log = "--access-log" if run.workload.access_log else "--no-access-log"
    options = ["--loop", "uvloop", "--runtime-threads", "1", log]
    options += run.tls("--certfile", "--keyfile")
    return [run.python, "-m", "h2corn", "-b", run.bind, *options, run.workload.application]


def _floor(run: Run) -> list[str]:
    return [run.python, "-m", "tests.benchmarks.floor", str(run.port)]


def _nginx(run: Run) -> list[str]:
    """One worker that sends files, as its documentation has it for fast ones."""
    here = run.directory
    temporary = "".join(f"{name}_temp_path {here};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    settings = here / "nginx.conf"
    settings.write_text(
        f"""daemon off; worker_processes 1; pid {here}/pid; error_log {here}/error;
        user {pwd.getpwuid(os.getuid()).pw_name};
        events {{ worker_connections 1024; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temporary}
            server {{ listen {run.bind}; root {FILES}; }}
        }}"""
    )
    return ["nginx", "-p", str(here), "-c", str(settings), "-e", f"{here}/error"]


APPSERVER = Server("appserver", _appserver, takes=lambda _: True)
FLOOR = Server("floor", _floor, takes=lambda workload: workload.floor)
NGINX = Server("nginx", _nginx, takes=lambda workload: bool(workload.file_size))
PEERS = (
    Server("uvicorn", _uvicorn, "uvicorn==0.54.* zttp"),
    Server("granian", _granian, "granian==2.8.*"),
    Server("gunicorn", _gunicorn, "gunicorn[http2]==27.* gunicorn_h1c"),  # its C parser
    Server("hypercorn", _hypercorn, "hypercorn[trio]==0.18.*", lambda workload: not workload.file_size),
    Server("h2corn", _h2corn, "h2corn==2.0.*"),
)


def install(server: Server, cache: Path) -> str:
    """The interpreter that the server runs with; its environment is made on first use."""
    if not server.requirement:
        return sys.executable
    home = cache / f"{server.name}-{sys.version_info.major}.{sys.version_info.minor}"
    python = home / "bin" / "python"
    shared = [f"{name}=={importlib.metadata.version(name)}" for name in SHARED_REQUIREMENTS]
    wanted = "\n".join([server.requirement, *shared])
    done = home / "installed"
    if not (done.exists() and done.read_text() == wanted):
        print(f"installing {server.requirement} into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted.split()], check=True)
        done.write_text(wanted)
    return str(python)


def environment() -> dict[str, str]:
    """The environment of a server: it finds the applications, and nothing of this one's settings."""
    unwanted = ("APPSERVER_", "PYTHONDONTWRITEBYTECODE")  # what pip installs is compiled, so this has to be, too
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**inherited, "PYTHONPATH": str(ROOT)}
