"""A user without privileges races a master that is root, in directories that this user can write to.

The attacker wants one thing: that root changes a file which only root can read.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import ListenerError
from appserver.master.listeners import ListenerSet
from appserver.settings import ListenerSettings
from tests.support.address import Address
from tests.support.attacker import GROUP, USER, Attacker, give_to_attacker, needs_root, public_directory
from tests.support.server import Server
from tests.support.waiting import eventually

pytestmark = needs_root

SITE = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""

STARTS = 3
ROUNDS = 200


class Scene:
    """A directory of the attacker's, a secret of root's, and a server that runs workers as the attacker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.theirs = give_to_attacker(directory / "theirs")
        self.secret = directory / "secret"
        self.secret.write_text("for root alone")
        self.secret.chmod(0o600)
        self.control = directory / "control.sock"

    def server(self, settings: dict[str, Any]) -> Server:
        common = {
            "app": {"target": "hello_site:app"},
            "workers": {"user": USER, "group": GROUP},
            "admin": {"control": str(self.control)},
        }
        return Server(self.directory, {**common, **settings}, files={"hello_site.py": SITE})

    def command(self, target: str) -> int:
        return Address(path=str(self.control)).request("POST", target).status

    def check(self) -> None:
        found = self.secret.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o600)
        assert self.secret.read_text() == "for root alone"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with public_directory() as directory:
        yield Scene(directory)


def serves_or_refuses(server: Server) -> bool:
    """Whether the server that has just been started serves; False if it has refused to, with exit code 2 or 3."""
    assert server._process is not None
    process = server._process
    eventually(lambda: process.poll() is not None or server.log.matching("serving"), "a start or a refusal", timeout=40)
    if process.poll() is None:
        return True
    assert server.wait_for_exit() in (2, 3)
    return False


SWAP_LOGS = """
kind = attempts % 4
with contextlib.suppress(FileNotFoundError):
    os.unlink(log)
if kind == 0:
    os.symlink(secret, log)
elif kind == 1:
    os.link(secret, log)
elif kind == 2:
    os.close(os.open(log, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
if secret_is_ours(secret):
    successes += 1
"""

PREPARATION = """
log, secret = args
def secret_is_ours(secret):
    try:
        os.close(os.open(secret, os.O_RDONLY))
    except PermissionError:
        return False
    return True
"""


@pytest.mark.long
def test_log_files_never_give_away_what_a_link_leads_to(scene: Scene) -> None:
    """The master opens the access log for the workers and gives it to them: at each start, and each time it reopens it."""
    log = scene.theirs / "access.log"
    settings = {"access_log": {"file": str(log)}}
    served = 0
    with Attacker(SWAP_LOGS, log, scene.secret, preparation=PREPARATION) as at_starts:
        for _ in range(STARTS):
            server = scene.server(settings)
            server.start()
            try:
                if serves_or_refuses(server):
                    served += 1
                else:
                    assert f"{log}" in server.log.text
            finally:
                server.close()
            scene.check()
    log.unlink(missing_ok=True)
    with scene.server(settings), Attacker(SWAP_LOGS, log, scene.secret, preparation=PREPARATION) as at_reopening:
        for _ in range(ROUNDS):
            assert scene.command("/reopen-logs") in (200, 409)  # it fails where it finds the link
    scene.check()
    print(f"{STARTS} starts, {served} of them served, under {at_starts.attempts} swaps: {at_starts.successes} won")
    print(f"{ROUNDS} times reopened under {at_reopening.attempts} swaps: {at_reopening.successes} won")
    assert (at_starts.successes, at_reopening.successes) == (0, 0)
    assert min(at_starts.attempts, at_reopening.attempts) > ROUNDS


def test_a_link_in_the_place_of_a_log_is_refused_by_name(scene: Scene) -> None:
    log = scene.theirs / "access.log"
    log.symlink_to(scene.secret)
    server = scene.server({"access_log": {"file": str(log)}})
    server.start()
    assert server.wait_for_exit() == 2
    assert f"{log} is a symbolic link, and the user {USER} can write to {scene.theirs}" in server.log.text
    server.close()
    scene.check()


def test_a_reload_to_such_a_log_is_refused_and_the_old_one_kept(scene: Scene) -> None:
    (scene.theirs / "access.log").symlink_to(scene.secret)
    with scene.server({}) as server:
        server.configure(
            {
                "app": {"target": "hello_site:app"},
                "workers": {"user": USER, "group": GROUP},
                "access_log": {"file": str(scene.theirs / "access.log")},
            }
        )
        verdict = server.reload()
        assert verdict["result"] == "refused"
        assert "is a symbolic link" in verdict["reason"]
        assert server.request("/").text == "hello"
    scene.check()


SWAP_SOCKETS = """
os.rename(path, moved)
os.symlink(secret, path)
swapped = time.monotonic() + 0.002
while time.monotonic() < swapped:
    found = os.stat(secret)
    if found.st_mode & 0o077 or found.st_uid:
        successes += 1
        break
os.unlink(path)
"""


def test_a_socket_is_never_swapped_between_bind_and_chmod(scene: Scene) -> None:
    """The attacker moves the socket away as soon as it has its name, and puts a link there: again and again."""
    path = scene.theirs / "app.sock"
    wanted = [ListenerSettings.model_validate({"bind": f"unix:{path}", "mode": "0666", "user": USER, "group": GROUP})]
    bound = 0
    preparation = "path, moved, secret = args\n"
    with Attacker(SWAP_SOCKETS, path, scene.theirs / "moved", scene.secret, preparation=preparation) as attacker:
        for _ in range(ROUNDS):
            listeners = ListenerSet()
            try:
                listeners.add(wanted)
                bound += 1
            except ListenerError:
                pass  # a link was in the way
            listeners.close()
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    print(f"{bound} of {ROUNDS} bound under {attacker.attempts} attempts: {attacker.successes} won")
    assert attacker.successes == 0
    scene.check()


@pytest.mark.long
def test_unix_sockets_never_lend_their_mode_and_owner_to_another_file(scene: Scene) -> None:
    """Between bind, chown and chmod of a socket: at each start, and at each reload that changes them."""
    settings = {"bind": f"unix:{scene.theirs}/app.sock", "user": USER, "group": GROUP}
    served = reloaded = 0
    preparation = "path, moved, secret = args\n"
    places = scene.theirs / "app.sock", scene.theirs / "moved", scene.secret
    with Attacker(SWAP_SOCKETS, *places, preparation=preparation) as attacker:
        for _ in range(STARTS):
            server = scene.server({"listeners": [{**settings, "mode": "0666"}]})
            server.start()
            try:
                if serves_or_refuses(server):
                    served += 1
                    for mode in ("0606", "0666") * 3:
                        common = {"app": {"target": "hello_site:app"}, "workers": {"user": USER, "group": GROUP}}
                        server.configure({**common, "listeners": [{**settings, "mode": mode}]})
                        server.reload()
                        reloaded += 1
            finally:
                server.close()
            scene.check()
    print(f"{attacker.attempts} looks, {served} of {STARTS} starts, {reloaded} reloads: {attacker.successes} won")
    assert attacker.successes == 0


@pytest.mark.long
def test_the_pid_file_is_not_written_through_a_link_whose_name_was_guessed(scene: Scene) -> None:
    path = scene.theirs / "server.pid"
    pid = os.getpid()
    pids = range(pid, pid + 20_000)
    for guess in (*pids, *range(300, 20_000)):
        link = scene.theirs / f".server.pid.{guess}"
        if not link.is_symlink():
            link.symlink_to(scene.secret)
    path.symlink_to(scene.secret)
    with scene.server({"admin": {"pid_file": str(path)}}) as server:
        assert path.read_text() == f"{server.pid}\n"
        assert not path.is_symlink()
    assert not path.exists()
    scene.check()


def test_a_pid_file_that_names_a_process_of_another_user_keeps_nobody_from_starting(scene: Scene) -> None:
    disguise = "setproctitle.setproctitle('appserver: master [disguise]')"
    with Attacker("time.sleep(0.01)", preparation=disguise) as attacker:
        path = scene.theirs / "server.pid"
        path.write_text(f"{attacker._process.pid}\n")
        with scene.server({"admin": {"pid_file": str(path)}}) as server:
            assert path.read_text() == f"{server.pid}\n"


def test_a_fifo_in_the_place_of_the_pid_file_does_not_hold_up_the_start(scene: Scene) -> None:
    path = scene.theirs / "server.pid"
    os.mkfifo(path)
    with scene.server({"admin": {"pid_file": str(path)}}) as server:
        assert path.read_text() == f"{server.pid}\n"
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 0
