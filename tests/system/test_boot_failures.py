"""A start that cannot work ends at once, with one clear message, the right exit code, and no traceback of appserver's."""

from __future__ import annotations

import os
import signal
import socket
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT, Server
from tests.support.waiting import eventually

SETTINGS, LISTENER, IMPORT, STARTUP = 2, 3, 4, 5

RAISING = "raise RuntimeError('boom at import')\n"
FAILING_LIFESPAN = textwrap.dedent("""
    async def app(scope, receive, send):
        await receive()
        {}
    """)


def failed_start(
    directory: Path, settings: dict[str, Any], *, code: int, shows_stacks: bool = False, **options: Any
) -> str:
    """Start a server that ends by itself with `code`; what it said."""
    server = Server(directory, settings, **options).start()
    try:
        assert server.wait_for_exit(timeout=15) == code
        # A worker of which the master has not heard yet, when it kills the zygote, ends when its channel does.
        eventually(lambda: not server.processes(), "nothing is left")
        server.log.join(5)
        server.output.join(5)
        said = f"{server.log.text}\n{server.output.text}"
        assert shows_stacks or str(ROOT / "appserver") not in said, "a traceback of ours"
        return said
    finally:
        server.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"workers": {"cuont": 2}}, ["server.toml", "workers.cuont", "count"], id="misspelt key"),
        pytest.param({"worker": {"count": 2}}, ["server.toml", "worker", "workers"], id="misspelt section"),
        pytest.param({"workers": {"count": "many"}}, ["server.toml", "workers.count", "many"], id="bad type"),
        pytest.param({"workers": {"boot_timeout": "soon"}}, ["workers.boot_timeout", "soon"], id="bad duration"),
        pytest.param({"listeners": [{"bind": "127.0.0.1:99999"}]}, ["99999"], id="bad port"),
        pytest.param({"tls": {"certificate": "none.pem", "key": "none.key"}}, ["none.pem"], id="no certificate"),
        pytest.param(
            {"workers": {"count": -1}, "http": {"parser": "lex"}}, ["workers.count", "http.parser"], id="two problems"
        ),
    ],
)
def test_wrong_settings_are_named_with_their_place(
    tmp_path: Path, settings: dict[str, Any], expected: list[str]
) -> None:
    said = failed_start(tmp_path, settings, code=SETTINGS)
    assert [word for word in expected if word not in said] == []


def test_a_misspelt_environment_variable_is_named(tmp_path: Path) -> None:
    said = failed_start(tmp_path, {}, code=SETTINGS, environment={"APPSERVER_WORKERS__CUONT": "2"})
    assert "APPSERVER_WORKERS__CUONT" in said
    assert "APPSERVER_WORKERS__COUNT" in said


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[app]\ntarget = application:app\n")
    said = failed_start(tmp_path, {}, code=SETTINGS, arguments=["--config", "broken.toml"])
    assert "broken.toml" in said
    assert "line 2" in said


def test_a_settings_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml" in failed_start(tmp_path, {}, code=SETTINGS, arguments=["--config", "nowhere.toml"])


def test_a_limit_on_open_files_that_leaves_no_room_is_named(tmp_path: Path) -> None:
    said = failed_start(tmp_path, {}, code=STARTUP, limits="ulimit -n 20")
    assert "may have 20 files open (ulimit -n)" in said
    said = failed_start(tmp_path, {"workers": {"max_open_files": 20}}, code=STARTUP)
    assert "workers.max_open_files = 20: a worker needs 32" in said


def test_a_start_without_an_application_is_refused(tmp_path: Path) -> None:
    assert "app.target" in failed_start(tmp_path, {"app": {"target": None}}, code=SETTINGS)


class TestImport:
    def test_a_module_that_does_not_exist(self, tmp_path: Path) -> None:
        said = failed_start(tmp_path, {"app": {"target": "nowhere:app"}}, code=IMPORT)
        assert "nowhere" in said
        assert "Traceback" not in said

    def test_an_attribute_that_does_not_exist_names_what_looks_like_an_application(self, tmp_path: Path) -> None:
        said = failed_start(tmp_path, {"app": {"target": "application:application"}}, code=IMPORT)
        assert "application:app" in said or "'app'" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize("preload", [False, pytest.param(True, marks=pytest.mark.long)])
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            pytest.param(RAISING, "RuntimeError: boom at import", id="raises"),
            pytest.param("import no_such_module\n", "no_such_module", id="imports what is not there"),
            pytest.param("def app(:\n", "SyntaxError", id="syntax"),
            pytest.param("raise SystemExit(0)\n", "SystemExit", id="exits"),
        ],
    )
    def test_an_application_that_fails_at_import_is_shown_once_with_its_traceback(
        self, tmp_path: Path, source: str, expected: str, preload: bool
    ) -> None:
        settings = {"app": {"target": "broken:app"}, "workers": {"count": 2, "preload": preload}}
        said = failed_start(tmp_path, settings, code=IMPORT, files={"broken.py": source})
        assert expected in said
        assert "broken.py" in said
        assert said.count("boot failed") == 1

    @pytest.mark.long
    @pytest.mark.parametrize("preload", [False, True])
    def test_an_application_that_has_gevent_patch_threads_is_told_what_to_do(
        self, tmp_path: Path, preload: bool
    ) -> None:
        settings = {"app": {"target": "patched:app"}, "workers": {"count": 1, "preload": preload}}
        source = "import gevent.monkey\ngevent.monkey.patch_all()\nfrom application import app\n"
        said = failed_start(tmp_path, settings, code=IMPORT, files={"patched.py": source})
        assert "gevent.monkey.patch_all" in said
        assert "app.threads" in said
        assert said.count("boot failed") == 1


class TestStartup:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            pytest.param(
                "await send({'type': 'lifespan.startup.failed', 'message': 'no database'})", "no database", id="failed"
            ),
            pytest.param("raise RuntimeError('boom at start-up')", "boom at start-up", id="raises"),
        ],
    )
    def test_a_start_up_that_fails_is_shown(self, tmp_path: Path, body: str, expected: str) -> None:
        settings = {"app": {"target": "broken:app", "lifespan": "on"}, "workers": {"count": 2}}
        said = failed_start(tmp_path, settings, code=STARTUP, files={"broken.py": FAILING_LIFESPAN.format(body)})
        assert expected in said

    def test_a_start_up_that_hangs_ends_at_boot_timeout(self, tmp_path: Path) -> None:
        # Two reports: on a busy machine the event loop may be late for one.
        workers = {"boot_timeout": 5, "stall_report": 1.5}
        settings = {"app": {"target": "broken:app", "lifespan": "on"}, "workers": workers}
        files = {"broken.py": FAILING_LIFESPAN.format("await receive()")}
        said = failed_start(tmp_path, settings, code=STARTUP, files=files, shows_stacks=True)
        assert "boot_timeout" in said
        assert "in app" in said.partition('"tasks":')[2], "where it awaits"

    @pytest.mark.long
    def test_a_start_up_that_blocks_shows_where(self, tmp_path: Path) -> None:
        settings = {"app": {"target": "broken:app", "lifespan": "on"}, "workers": {"boot_timeout": 5}}
        connect = "import time\n\n\ndef connect():\n    time.sleep(600)\n"
        files = {"broken.py": connect + FAILING_LIFESPAN.format("connect()")}
        said = failed_start(tmp_path, settings, code=STARTUP, files=files, shows_stacks=True)
        assert "in connect" in said

    @pytest.mark.parametrize("preload", [pytest.param(False, marks=pytest.mark.long), True])
    @pytest.mark.long
    def test_an_import_that_hangs_ends_at_boot_timeout(self, tmp_path: Path, preload: bool) -> None:
        settings = {"app": {"target": "broken:app"}, "workers": {"boot_timeout": 5, "preload": preload}}
        files = {"broken.py": "import time\n\n\ndef connect():\n    time.sleep(600)\n\n\nconnect()\n"}
        said = failed_start(tmp_path, settings, code=STARTUP, files=files, shows_stacks=True)
        assert "boot_timeout" in said
        assert ("zygote stacks" if preload else "worker stacks") in said
        assert "in connect" in said

    @pytest.mark.long
    @pytest.mark.parametrize("preload", [False, True])
    def test_one_that_is_killed_while_it_shows_where_has_not_crashed(self, tmp_path: Path, preload: bool) -> None:
        settings = {"app": {"target": "broken:app"}, "workers": {"stall_report": 1, "preload": preload}}
        server = Server(tmp_path, settings, files={"broken.py": "import time\ntime.sleep(600)\n"}).start()
        try:
            server.log.wait_for(f"{'zygote' if preload else 'worker'} boots slowly")
            server.signal(signal.SIGQUIT)
            server.wait_for_exit()
            assert not [record for record in server.log.records if "crashed" in record["event"]]
        finally:
            server.close()


class TestListener:
    def test_a_port_in_use_names_its_holder(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            bind = f"127.0.0.1:{holder.getsockname()[1]}"
            said = failed_start(tmp_path, {"listeners": [{"bind": bind}]}, code=LISTENER)
        assert bind in said
        assert str(os.getpid()) in said

    def test_an_address_of_another_machine(self, tmp_path: Path) -> None:
        # RFC 5737: nobody has this address.
        assert "192.0.2.1" in failed_start(tmp_path, {"listeners": [{"bind": "192.0.2.1:8000"}]}, code=LISTENER)

    def test_a_live_unix_socket_is_not_taken_away(self, tmp_path: Path) -> None:
        path = tmp_path / "live.sock"
        with socket.socket(socket.AF_UNIX) as holder:
            holder.bind(str(path))
            holder.listen()
            said = failed_start(tmp_path, {"listeners": [{"bind": f"unix:{path}"}]}, code=LISTENER)
            assert path.is_socket()
        assert str(path) in said

    def test_a_file_that_is_no_socket_is_not_taken_away(self, tmp_path: Path) -> None:
        path = tmp_path / "precious"
        path.write_text("data")
        said = failed_start(tmp_path, {"listeners": [{"bind": f"unix:{path}"}]}, code=LISTENER)
        assert path.read_text() == "data"
        assert str(path) in said

    def test_a_descriptor_that_is_no_socket(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("w") as file:
            bind = f"fd://{file.fileno()}"
            said = failed_start(tmp_path, {"listeners": [{"bind": bind}]}, code=LISTENER, pass_fds=[file.fileno()])
        assert bind in said

    def test_nothing_is_left_of_the_listeners_that_could_be_bound(self, tmp_path: Path) -> None:
        path = tmp_path / "first.sock"
        with socket.create_server(("127.0.0.1", 0)) as holder:
            bind = f"127.0.0.1:{holder.getsockname()[1]}"
            failed_start(tmp_path, {"listeners": [{"bind": f"unix:{path}"}, {"bind": bind}]}, code=LISTENER)
        assert not path.exists()
