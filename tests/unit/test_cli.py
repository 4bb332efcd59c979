"""The command line: words, options, messages and exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import appserver
from appserver import __main__ as program
from appserver import __version__, distribution, signals
from appserver.cli import main
from appserver.errors import AppserverError, ListenerError, StartupError
from appserver.master import Command
from appserver.settings import Loaded, Settings

Reread = Callable[[], Loaded]


class FakeMaster(ModuleType):
    """Stands for `appserver.master`: notes what it is to run, and then does what a test wants."""

    def __init__(self) -> None:
        super().__init__("appserver.master")
        self.Command = Command
        self.loaded: Loaded | None = None
        self.reread: Reread | None = None
        self.then: Callable[[], int] = lambda: 0

    def run(self, loaded: Loaded, reread: Reread, command: Command) -> int:
        self.loaded, self.reread, self.command = loaded, reread, command
        return self.then()

    @property
    def settings(self) -> Settings:
        assert self.loaded is not None
        return self.loaded.settings


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("APPSERVER_") or name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> FakeMaster:
    fake = FakeMaster()
    monkeypatch.setitem(sys.modules, "appserver.master", fake)
    return fake


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the program with arguments that it has to refuse; return what it says."""

    def run(*arguments: str, code: int = 2) -> str:
        assert main(arguments) == code
        output = capsys.readouterr()
        assert output.out == ""
        assert "Traceback" not in output.err
        assert all(line.startswith(("appserver: ", " ", "or ")) for line in output.err.splitlines())
        return output.err

    return run


def raising(error: BaseException) -> Callable[[], int]:
    def then() -> int:
        raise error

    return then


class TestRun:
    def test_every_option_becomes_the_setting_that_it_stands_for(self, master: FakeMaster, tmp_path: Path) -> None:
        (tmp_path / "code").mkdir()
        (tmp_path / "app.env").touch()
        arguments = (
            "main:make --bind 127.0.0.1:1 --bind unix:x.sock --workers 3 --factory --app-dir code --env-file app.env "
            "--log-level debug --set http.max_headers=7 --set workers.boot_timeout=1m"
        )
        assert main(arguments.split()) == 0
        settings = master.settings
        assert (settings.app.target, settings.app.factory) == ("main:make", True)
        assert (settings.app.directory, settings.app.env_file) == (Path("code"), Path("app.env"))
        assert [str(listener.bind) for listener in settings.listeners] == ["127.0.0.1:1", "unix:x.sock"]
        assert (settings.workers.count, settings.workers.boot_timeout) == (3, 60)
        assert (settings.logging.level, settings.http.max_headers) == ("debug", 7)
        assert master.loaded is not None
        where = {
            name: master.loaded.origins[name].where for name in ("app.target", "workers.count", "http.max_headers")
        }
        assert where == {"app.target": "argument", "workers.count": "--workers", "http.max_headers": "--set"}

    def test_an_option_wins_over_set_wherever_it_stands(self, master: FakeMaster) -> None:
        assert main(["a:b", "--workers", "3", "--set", "workers.count=4"]) == 0
        assert master.settings.workers.count == 3

    def test_a_file_and_a_target_go_together(self, master: FakeMaster) -> None:
        Path("server.toml").write_text('[app]\ntarget = "a:b"\n[workers]\ncount = 2')
        assert main(["--config", "server.toml", "c:d"]) == 0
        assert (master.settings.app.target, master.settings.workers.count) == ("c:d", 2)

    def test_the_environment_can_name_the_file(self, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("server.toml").write_text('[app]\ntarget = "a:b"')
        monkeypatch.setenv("APPSERVER_CONFIG", "server.toml")
        assert main([]) == 0
        assert master.loaded is not None
        assert master.loaded.path == Path("server.toml")

    def test_a_reload_reads_the_file_again_with_the_environment_and_the_options_of_the_start(
        self, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = Path("server.toml")
        file.write_text('[app]\ntarget = "a:b"\n[http]\nmax_headers = 1')
        monkeypatch.setenv("APPSERVER_WORKERS__PRELOAD", "true")
        assert main(["--config", "server.toml", "--workers", "3"]) == 0
        file.write_text('[app]\ntarget = "a:b"\n[http]\nmax_headers = 2')
        monkeypatch.setenv("APPSERVER_WORKERS__PRELOAD", "false")
        assert master.reread is not None
        again = master.reread().settings
        assert (again.http.max_headers, again.workers.preload, again.workers.count) == (2, True, 3)

    def test_a_reload_reads_all_of_several_files_again_and_files_that_have_come(self, master: FakeMaster) -> None:
        Path("base.toml").write_text('[app]\ntarget = "a:b"\n[http]\nmax_headers = 1\n[workers]\ncount = 1\n')
        Path("conf.d").mkdir()
        Path("conf.d/a.toml").write_text("[workers]\ncount = 2")
        assert main(["--config", "base.toml", "--config", "conf.d"]) == 0
        assert (master.settings.http.max_headers, master.settings.workers.count) == (1, 2)
        Path("base.toml").write_text('[app]\ntarget = "a:b"\n[http]\nmax_headers = 3\n')
        Path("conf.d/b.toml").write_text("[workers]\ncount = 4")
        assert master.reread is not None
        again = master.reread()
        assert (again.settings.http.max_headers, again.settings.workers.count) == (3, 4)
        assert [str(path) for path in again.paths] == ["base.toml", "conf.d/a.toml", "conf.d/b.toml"]

    def test_the_exit_code_is_the_masters(self, master: FakeMaster) -> None:
        master.then = lambda: 5
        assert main(["a:b"]) == 5

    def test_the_arguments_are_those_of_the_process(self, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["appserver", "a:b"])
        assert main() == 0
        assert master.settings.app.target == "a:b"


class TestHabits:
    @pytest.mark.parametrize(
        ("arguments", "key", "expected"),
        [
            ("--root-path /api", "app.root_path", "/api"),
            ("--lifespan off", "app.lifespan", "off"),
            ("--interface asgi", "app.interface", "asgi3"),
            ("--interface wsgi", "app.interface", "wsgi"),
            ("--loop asyncio", "workers.loop", "asyncio"),
            ("--http h11", "http.parser", "h11"),
            ("--ws none", "websocket.enabled", False),
            ("--ws websockets", "websocket.enabled", True),
            ("--proxy-headers", "proxy.headers", "x-forwarded"),
            ("--no-proxy-headers", "proxy.headers", "none"),
            ("--forwarded-allow-ips 10.0.0.1,10.1.0.0/16", "proxy.trusted", ("10.0.0.1", "10.1.0.0/16")),
            ("--timeout-keep-alive 7", "http.keepalive_timeout", 7),
            ("--limit-concurrency 9", "workers.max_concurrency", 9),
            ("--limit-max-requests 9", "workers.max_requests", 9),
            ("--max-requests 9", "workers.max_requests", 9),
            ("--preload", "workers.preload", True),
            ("-w 3", "workers.count", 3),
            ("-w3", "workers.count", 3),
            ("--pid x.pid", "admin.pid_file", Path("x.pid")),
            ("--access-logfile a.log", "access_log.file", Path("a.log")),
            ("--access-logfile - --set access_log.enabled=false", "access_log.enabled", True),
            ("--reload-dir a --reload-dir b", "dev.watch", ("a", "b")),
        ],
    )
    def test_options_of_other_servers_mean_here_what_they_mean_there(
        self, master: FakeMaster, arguments: str, key: str, expected: object
    ) -> None:
        assert main(["a:b", *arguments.split()]) == 0
        section, _, name = key.partition(".")
        assert getattr(getattr(master.settings, section), name) == expected

    def test_their_origin_is_the_option_as_it_was_written(self, master: FakeMaster) -> None:
        assert main(["a:b", "--limit-max-requests", "9", "--host", "0.0.0.0"]) == 0
        assert master.loaded is not None
        where = {name: master.loaded.origins[name].where for name in ("workers.max_requests", "listeners[0].bind")}
        assert where == {"workers.max_requests": "--limit-max-requests", "listeners[0].bind": "--host"}

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("--host 0.0.0.0", ["0.0.0.0:8000"]),
            ("--port 9000", ["127.0.0.1:9000"]),
            ("--host ::1 --port 9000", ["[::1]:9000"]),
            ("--uds /run/x.sock", ["unix:/run/x.sock"]),
            ("--fd 3", ["fd://3"]),
            ("-b 0.0.0.0:1 --bind unix:/run/x.sock", ["0.0.0.0:1", "unix:/run/x.sock"]),
            ("-b 0.0.0.0:1 --port 2", ["0.0.0.0:1", "127.0.0.1:2"]),
        ],
    )
    def test_addresses(self, master: FakeMaster, arguments: str, expected: list[str]) -> None:
        assert main(["a:b", *arguments.split()]) == 0
        assert [str(listener.bind) for listener in master.settings.listeners] == expected

    @pytest.mark.parametrize("prefix", ["--", "--ssl-"])
    def test_with_a_certificate_the_listeners_of_the_command_line_encrypt(
        self, master: FakeMaster, prefix: str
    ) -> None:
        Path("c.pem").touch()
        Path("k.pem").touch()
        files = f"{prefix}certfile c.pem {prefix}keyfile k.pem".split()
        assert main(["a:b", *files]) == 0
        assert [(str(one.bind), one.tls) for one in master.settings.listeners] == [("127.0.0.1:8000", True)]
        assert main(["a:b", *files, "-b", "127.0.0.1:1", "-b", "127.0.0.1:2"]) == 0
        assert [one.tls for one in master.settings.listeners] == [True, True]
        assert (master.settings.tls.certificate, master.settings.tls.key) == (Path("c.pem"), Path("k.pem"))

    def test_with_a_file_its_listeners_stay_what_they_are(self, master: FakeMaster) -> None:
        Path("c.pem").touch()
        Path("server.toml").write_text('[app]\ntarget = "a:b"\n[[listeners]]\nbind = "127.0.0.1:1"\ntls = true')
        assert main(["-c", "server.toml", "--certfile", "c.pem"]) == 0
        assert [str(one.bind) for one in master.settings.listeners] == ["127.0.0.1:1"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("--timeout 30", "--timeout (gunicorn): here it is workers.stall_timeout: --set workers.stall_timeout=..."),
            ("--ssl-ca-certs x", "--ssl-ca-certs (uvicorn): here it is tls.client_ca: --set tls.client_ca=..."),
            ("-D", "-D (gunicorn, hypercorn): there is no such setting; a service manager starts it"),
            ("-k gevent", 'app.interface = "wsgi"'),
            ("--ws wsproto", '--ws: websocket.enabled = "wsproto": expected true or false'),
            ("-c gunicorn.conf.py", "appserver migrate -- gunicorn -c gunicorn.conf.py module:attribute"),
        ],
    )
    def test_other_options_are_answered_with_what_they_are_here(
        self, refused: Callable[..., str], arguments: str, expected: str
    ) -> None:
        assert expected in refused("a:b", *arguments.split())

    def test_all_of_them_are_answered_at_once(self, refused: Callable[..., str]) -> None:
        said = refused("--timeout", "30", "-D", "a:b", "--workes", "3")
        assert [line.split()[0] for line in said.splitlines()] == ["appserver:", "-D", "unknown", "`appserver"]


class TestErrors:
    def test_an_error_is_a_line_and_its_exit_code(self, master: FakeMaster, refused: Callable[..., str]) -> None:
        master.then = raising(ListenerError("127.0.0.1:80: permission denied"))
        assert refused("a:b", code=3) == "appserver: 127.0.0.1:80: permission denied\n"

    def test_the_applications_traceback_comes_before_the_line(
        self, master: FakeMaster, capsys: pytest.CaptureFixture[str]
    ) -> None:
        master.then = raising(StartupError("start-up failed", "Traceback of the application\n"))
        assert main(["a:b"]) == 5
        assert capsys.readouterr().err == "Traceback of the application\nappserver: start-up failed\n"

    @pytest.mark.parametrize("error", [ZeroDivisionError("x"), AppserverError("x")])
    def test_what_nobody_expected_is_a_bug_with_its_traceback(
        self, master: FakeMaster, capsys: pytest.CaptureFixture[str], error: Exception
    ) -> None:
        master.then = raising(error)
        assert main(["a:b"]) == 70
        said = capsys.readouterr().err
        assert "Traceback (most recent call last)" in said
        assert said.endswith(f"this is a bug in appserver {__version__}; please report it with the lines above\n")

    def test_an_interrupt_before_anything_runs_is_no_bug(self, master: FakeMaster) -> None:
        master.then = raising(KeyboardInterrupt())
        assert main(["a:b"]) == 130

    def test_every_problem_of_the_settings_has_a_line(self, refused: Callable[..., str]) -> None:
        Path("server.toml").write_text("[workers]\ncuont = 4\nboot_timeout = 0\n")
        assert refused("--config", "server.toml").splitlines() == [
            "appserver: server.toml: app.target: required; expected module:attribute of the application",
            "appserver: server.toml: workers.boot_timeout = 0: expected a duration above 0",
            "appserver: server.toml: workers.cuont = 4: unknown key; did you mean workers.count?",
        ]

    @pytest.mark.parametrize("arguments", [[], ["--workers", "2"], ["check"], ["settings"]])
    def test_without_an_application_it_says_how_to_name_one(
        self, refused: Callable[..., str], arguments: list[str]
    ) -> None:
        said = refused(*arguments)
        assert "nothing to serve" in said
        assert "    appserver module:attribute\n" in said
        assert "    appserver --config server.toml\n" in said

    def test_without_an_application_other_problems_are_told_as_well(self, refused: Callable[..., str]) -> None:
        said = refused("--workers", "x")
        assert "app.target: required" in said
        assert '--workers: workers.count = "x"' in said


class TestWords:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["chekc"], "'chekc' is neither a command nor an application (module:attribute); did you mean check?"),
            (["relaod"], "did you mean reload?"),
            (["main"], "appserver --help lists the commands"),
            ([""], "'' is neither a command nor an application"),
            (["--workers", "2", "main"], "'main' is neither a command nor an application"),
            (["--workers", "2", "check"], "the command comes first: appserver check ..."),
            (["--config", "x", "status"], "the command comes first: appserver status ..."),
            (["check", "main"], "'main' is neither a command nor an application"),
            (["a:b", "c:d"], "unknown argument c:d; see appserver --help"),
            (["a:b", "--workes", "2"], "unknown argument --workes; did you mean --workers?"),
            (["a:b", "--work", "2"], "unknown argument --work; did you mean --workers?"),
            (["a:b", "--blind=x"], "unknown argument --blind; did you mean --bind?"),
            (["check", "a:b", "--watch"], "unknown argument --watch; "),
            (["a:b", "--workers"], "argument -w/--workers: expected one argument"),
            (["settings", "a:b", "--format", "yaml"], "argument --format: invalid choice: 'yaml'"),
            (["a:b", "--set", "workers.count"], "--set workers.count: expected section.key=value"),
            (["a:b", "--set", "workers.cuont=4"], "--set: workers.cuont = 4: unknown key; did you mean workers.count?"),
            (["a:"], 'argument: app.target = "a:": expected module:attribute'),
            (["a:b", "--bind", "8000"], '--bind: listeners[0].bind = "8000": expected a host before the port'),
            (["a:b", "--log-level", "loud"], '--log-level: logging.level = "loud": expected "debug", "info"'),
            (["a:b", "--app-dir", "nowhere"], '--app-dir: app.directory = "nowhere": no such directory'),
            (["a:b", "--config", "nowhere.toml"], "nowhere.toml: no such file"),
        ],
    )
    def test_a_slip_is_told_with_what_was_probably_meant(
        self, refused: Callable[..., str], arguments: list[str], expected: str
    ) -> None:
        assert expected in refused(*arguments)

    @pytest.mark.parametrize(
        "command", ["status", "top", "reload", "scale 3", "stop", "stacks", "reopen-logs", "upgrade"]
    )
    def test_a_command_to_a_running_server_wants_to_know_which(self, refused: Callable[..., str], command: str) -> None:
        said = refused(*command.split())
        assert "which server? " in said
        assert f"    appserver {command.split(maxsplit=1)[0]} --config server.toml\n" in said

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--version"], f"appserver {__version__} ({distribution.build()})\n"),
            (["--help"], "usage: appserver --config FILE"),
            (["check", "--help"], "usage: appserver check"),
            (["settings", "--help"], "usage: appserver settings"),
        ],
    )
    def test_it_explains_itself(self, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert not caught.value.code
        assert capsys.readouterr().out.startswith(expected)


class TestCheck:
    def test_valid_settings_are_told_to_be_valid(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("server.toml").write_text('[app]\ntarget = "a:b"')
        assert main(["check", "--config", "server.toml"]) == 0
        assert main(["check", "a:b"]) == 0
        assert capsys.readouterr().out == "server.toml: the settings are valid\nthe settings are valid\n"
        Path("host.toml").write_text("[workers]\ncount = 2")
        assert main(["check", "--config", "server.toml", "--config", "host.toml"]) == 0
        assert capsys.readouterr().out == "server.toml, host.toml: the settings are valid\n"

    def test_a_problem_ends_it_with_2(self, refused: Callable[..., str]) -> None:
        Path("server.toml").write_text('[app]\ntarget = "a:b"\n[workers]\nuser = "no-such-user"')
        assert "no such user" in refused("check", "--config", "server.toml")


class TestSettings:
    def test_they_are_shown_as_toml_with_their_origins(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["settings", "a:b", "--workers", "3"]) == 0
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert 'target = "a:b" # command line: argument' in lines
        assert "count = 3 # command line: --workers" in lines

    def test_they_are_shown_as_json_with_their_origins(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["settings", "a:b", "--workers", "3", "--format", "json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["workers"]["count"] == {"value": 3, "source": "command line", "where": "--workers"}


@pytest.mark.parametrize(
    "arguments",
    [["--config", ""], ["-c", ""], ["check", "--config="], ["status", "--config", ""], ["status", "--control="]],
)
def test_a_path_without_a_character_names_no_file(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("pyproject.toml").write_text("[project]\n", "utf-8")  # the current directory is not what is meant
    assert main(arguments) == 2
    assert "expected the name of a file or a directory, not an empty text" in capsys.readouterr().err


def test_an_option_behind_two_dashes_is_told_where_to_stand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--", "-5", "--config", "server.toml"]) == 2
    expected = 'appserver: --config stands behind "--", where nothing is an option: write it in front of that\n'
    assert capsys.readouterr().err == expected


class TestFromAProgram:
    def test_sections_are_the_settings(self, master: FakeMaster) -> None:
        assert appserver.run("a:b", bind=["127.0.0.1:1"], workers=3, http={"max_headers": 7}) == 0
        settings = master.settings
        assert (settings.workers.count, settings.http.max_headers) == (3, 7)
        assert [str(listener.bind) for listener in settings.listeners] == ["127.0.0.1:1"]

    def test_workers_may_be_the_section(self, master: FakeMaster) -> None:
        assert appserver.run("a:b", workers={"count": 3, "graceful_timeout": "5s"}) == 0
        assert (master.settings.workers.count, master.settings.workers.graceful_timeout) == (3, 5)

    def test_the_program_gets_its_signals_back(self, master: FakeMaster) -> None:
        def serve() -> int:
            signals.block()  # as at the end of a master
            return 0

        master.then = serve
        assert appserver.run("a:b") == 0
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(signals.HANDLED)

    def test_a_running_event_loop_is_not_held_up(self, master: FakeMaster) -> None:
        async def call() -> None:
            appserver.run("a:b")

        with pytest.raises(RuntimeError, match=r"async with appserver\.serving\(app\)"):
            asyncio.run(call())

    def test_a_thread_that_cannot_handle_signals_is_told_where_to_call_it(self, master: FakeMaster) -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="wants the main thread"):
            pool.submit(lambda: appserver.run("a:b")).result()

    def test_with_a_certificate_its_addresses_encrypt(self, master: FakeMaster) -> None:
        Path("c.pem").touch()
        Path("k.pem").touch()
        tls = {"certificate": "c.pem", "key": Path("k.pem")}
        assert appserver.run("a:b", bind=["127.0.0.1:1", "127.0.0.1:2"], tls=tls) == 0
        assert [listener.tls for listener in master.settings.listeners] == [True, True]
        assert (master.settings.tls.certificate, master.settings.tls.key) == (Path("c.pem"), Path("k.pem"))

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"http": 3}, "argument: http = 3: expected a mapping of the keys of that section to their values"),
            ({"bind": 8000}, 'argument: bind = 8000: expected "HOST:PORT", or several of them'),
            ({"listeners": []}, 'argument: listeners: the addresses are given as bind: "HOST:PORT", or several'),
        ],
    )
    def test_an_argument_of_another_form_is_printed(
        self, arguments: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert appserver.run("a:b", **arguments) == 2
        assert capsys.readouterr().err == f"appserver: {said}\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("_pydantic_core.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
    ],
)
def test_memory_that_is_not_enough_to_begin_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> int:
        raise error

    monkeypatch.setattr(program, "_run", run)
    assert program.main() == StartupError.exit_code
    assert capsys.readouterr().err.startswith("appserver: not enough memory: raise the limit")


def test_other_errors_of_the_import_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> int:
        raise ImportError("no such module")

    monkeypatch.setattr(program, "_run", run)
    with pytest.raises(ImportError, match="no such module"):
        program.main()
