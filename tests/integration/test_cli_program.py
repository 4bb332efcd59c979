"""The program `appserver` as a shell sees it: exit codes, streams, and applications imported in a child."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.server import SETPRIV

ROOT = Path(__file__).parents[2]
LIMIT = 60
WITHOUT_RIGHTS = f"{SETPRIV} --bounding-set=-dac_override,-dac_read_search" if os.geteuid() == 0 else ""
"""In front of a command: permissions apply to it, also where these tests are run by root."""


def appserver(
    *arguments: str, directory: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, in a directory and with nothing of this shell's settings."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "appserver", *arguments],
        cwd=directory,
        env={**inherited, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=LIMIT,
        check=False,
    )


def shell(command: str, *, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell, for what cannot be said in Python: closed streams, directories that go."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_the_version_is_printed(tmp_path: Path) -> None:
    run = appserver("--version", directory=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("appserver ")


def test_a_system_without_the_null_device_is_told_so(tmp_path: Path) -> None:
    program = "import os, sys; os.devnull = '/dev/nowhere'\nfrom appserver.__main__ import main\nsys.exit(main())"
    run = shell(f'exec {sys.executable} -c "{program}" check a:b', directory=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "appserver: /dev/nowhere cannot be opened: No such file or directory; every program needs it\n"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_another_system_than_linux_is_told_so_in_one_line(tmp_path: Path, platform: str) -> None:
    missing = "['fcntl', 'grp', 'pwd', 'resource', 'termios', 'uvloop']"  # whatever a system lacks is not looked for
    program = (
        f"import sys; sys.platform = {platform!r}; sys.modules.update(dict.fromkeys({missing}))\n"
        "from appserver.__main__ import main\n"
        "sys.exit(main())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, "main:app"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"appserver needs Linux, and this is {platform}: run it in a container or in WSL\n"


def test_a_mistake_is_told_on_standard_error_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text('[app]\ntarget = "a:b"\n[workers]\ncuont = 4\n')
    environment = {"APPSERVER_WORKER__COUNT": "4"}
    run = appserver("--config", "server.toml", directory=tmp_path, environment=environment)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines() == [
        "appserver: APPSERVER_WORKER__COUNT: unknown environment variable; did you mean APPSERVER_WORKERS__COUNT?",
        "appserver: server.toml: workers.cuont = 4: unknown key; did you mean workers.count?",
    ]


def test_the_reference_and_the_demo_pass_the_check(tmp_path: Path) -> None:
    assert appserver("check", "--config", "config/server.toml", directory=ROOT).returncode == 0
    # What a setting holds may be more than the locale's encoding has.
    more = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "more.toml").write_text('[access_log]\nexclude_paths = ["/é"]\n', "utf-8")
    files = ("--config", "config/demo/server.toml", "--config", str(tmp_path / "more.toml"))
    assert appserver("check", *files, "--app", directory=ROOT, environment=more).returncode == 0


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        run = subprocess.run(
            [sys.executable, "-m", "appserver", "settings", "a:b"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            check=False,
        )
    assert (run.returncode, run.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("settings a:b >/dev/full", "No space left on device"),
        ("settings a:b >&-", "Bad file descriptor"),
        ("check a:b >/dev/full", "No space left on device"),
        ("--version >&-", "Bad file descriptor"),
        ("--help >&-", "Bad file descriptor"),
    ],
)
def test_what_cannot_be_shown_is_a_line_and_exit_code_1(tmp_path: Path, command: str, reason: str) -> None:
    run = shell(f"exec {sys.executable} -m appserver {command}", directory=tmp_path)
    assert (run.returncode, run.stderr) == (1, f"appserver: standard output cannot be written: {reason}\n")


def test_a_directory_that_is_gone_is_told_by_the_check(tmp_path: Path) -> None:
    gone = tmp_path / "release"
    gone.mkdir()
    for check in ("check a:b", "check a:b --app"):
        gone.mkdir(exist_ok=True)
        run = shell(f"rmdir {gone}; exec {sys.executable} -m appserver {check}", directory=gone)
        assert run.returncode == 4
        assert run.stderr.startswith("appserver: ")
        assert "relative to the current directory, which has been removed" in run.stderr


@pytest.mark.parametrize("command", ["status", "a:b --bind 127.0.0.1:0", "dev a:b --bind 127.0.0.1:0"])
def test_a_current_directory_that_is_gone_is_told_by_every_command(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "release"
    gone.mkdir()
    run = shell(f"rmdir {gone}; exec {sys.executable} -P -m appserver {command}", directory=gone)
    said = "appserver: the current directory has been removed; start appserver from one that stays\n"
    assert (run.returncode, run.stderr) == (2, said)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("check a:b", 2, 'app.directory = ".": a directory that may not be looked into'),
        ("check --config ../closed/server.toml", 2, "../closed/server.toml: cannot be read: Permission denied"),
        ("check --config ../closed/conf.d/", 2, "../closed/conf.d: cannot be read: Permission denied"),
        ("check a:b --set logging.file=../closed/x/y", 2, "a directory that may not be looked into: ../closed/x"),
        ("check a:b --set admin.control=../closed/x/y", 2, "a directory that may not be looked into: ../closed/x"),
        ("init --output ../closed/x.toml", 2, "application"),
        ("migrate -- gunicorn -c ../closed/x.py a:b", 2, "../closed/x.py: no such file"),
        ("migrate -- gunicorn a:b", 0, ""),
        ("status", 2, "which server?"),
    ],
)
def test_a_directory_of_another_user_is_no_bug(tmp_path: Path, command: str, code: int, said: str) -> None:
    # sudo -u www-data, from the home directory of root
    closed = tmp_path / "closed"
    closed.mkdir()
    run = shell(f"chmod 0 .; exec {WITHOUT_RIGHTS} {sys.executable} -P -m appserver {command}", directory=closed)
    assert said in run.stderr
    assert "bug" not in run.stderr
    assert run.returncode == code


@pytest.mark.long
def test_a_runtime_directory_of_another_user_is_passed_over(tmp_path: Path) -> None:
    # su, which leaves the variables of the session as they are
    (tmp_path / "closed").mkdir(mode=0)
    command = f"RUNTIME_DIRECTORY={tmp_path}/closed/x exec {WITHOUT_RIGHTS} {sys.executable} -m appserver"
    run = shell(f"{command} missing:app --bind 127.0.0.1:0", directory=tmp_path)
    assert run.returncode == 4
    assert "bug" not in run.stderr


@pytest.mark.long
def test_a_name_that_is_no_utf_8_can_be_told(tmp_path: Path) -> None:
    name = os.fsdecode(b"server\xff.toml")
    (tmp_path / name).write_text('[app]\ntarget = "a:b"')
    run = appserver("check", "--config", name, directory=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "server\\udcff.toml: the settings are valid\n"
    run = appserver("check", "--config", f"{name}.not", directory=tmp_path)
    assert (run.returncode, run.stderr) == (2, "appserver: server\\udcff.toml.not: no such file\n")


class TestCheckOfAnApplication:
    def check(self, directory: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (directory / "example.py").write_text(source)
        return appserver("check", "example:app", "--app", *arguments, directory=directory)

    def test_one_that_can_be_imported_passes(self, tmp_path: Path) -> None:
        run = self.check(tmp_path, "async def app(scope, receive, send): ...")
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.endswith("the application can be imported: example:app\n")

    @pytest.mark.long
    def test_it_has_the_variables_of_the_env_file(self, tmp_path: Path) -> None:
        (tmp_path / "app.env").write_text("GREETING=hello\n")
        source = "import os\nassert os.environ['GREETING'] == 'hello'\nasync def app(scope, receive, send): ..."
        assert self.check(tmp_path, source, "--env-file", "app.env").returncode == 0

    @pytest.mark.long
    def test_a_module_named_like_one_of_the_standard_library_is_in_nobodys_way(self, tmp_path: Path) -> None:
        (tmp_path / "types.py").write_text("raise RuntimeError('not this one')")
        program = "from appserver.cli import main; raise SystemExit(main())"
        (tmp_path / "example.py").write_text("async def app(scope, receive, send): ...")
        run = shell(f"exec {sys.executable} -P -c '{program}' check example:app --app", directory=tmp_path)
        assert (run.returncode, run.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("raise RuntimeError('boom at import')", "boom at import"),
            ("application = 1", "app"),
            ("import no_such_module", "no_such_module"),
        ],
    )
    def test_one_that_cannot_is_told_with_the_reason_and_exit_code_4(
        self, tmp_path: Path, source: str, expected: str
    ) -> None:
        run = self.check(tmp_path, source)
        assert run.returncode == 4
        assert expected in run.stderr
        assert str(ROOT / "appserver") not in run.stderr, "a traceback of ours"
        assert run.stderr.endswith("appserver: example:app cannot be imported (exit code 4)\n")

    @pytest.mark.long
    def test_one_that_ends_its_process_is_told_with_the_signal(self, tmp_path: Path) -> None:
        run = self.check(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
        assert (run.returncode, run.stderr) == (
            4,
            "appserver: importing example:app ended its process with signal 9\n",
        )

    def test_one_that_ends_its_process_with_exit_code_0_has_not_been_imported(self, tmp_path: Path) -> None:
        run = self.check(tmp_path, "import os\nos._exit(0)")
        assert (run.returncode, run.stderr) == (
            4,
            "appserver: importing example:app ended its process with exit code 0\n",
        )

    def test_one_that_hangs_is_ended_at_boot_timeout(self, tmp_path: Path) -> None:
        run = self.check(tmp_path, "import time\ntime.sleep(600)", "--set", "workers.boot_timeout=1")
        assert (run.returncode, run.stderr) == (
            4,
            "appserver: example:app was not imported within 1 s (workers.boot_timeout)\n",
        )


class TestLoggingConfiguration:
    """What is wrong with it: the file, the key, the reason."""

    @pytest.mark.parametrize("command", [["check"], []])
    def test_a_name_that_is_not_there(self, tmp_path: Path, command: list[str]) -> None:
        (tmp_path / "main.py").write_text("async def app(scope, receive, send): pass\n")
        (tmp_path / "log.toml").write_text('version = 1\n[loggers.shop]\nhandlers = ["nowhere"]\n')
        run = appserver(*command, "main:app", "--log-config", "log.toml", directory=tmp_path)
        reason = "loggers.shop.handlers: 'nowhere' is not in handlers; there are none"
        expected = f'appserver: --log-config: logging.config_file = "log.toml": {reason}\n'
        assert (run.returncode, run.stderr) == (2, expected)

    @pytest.mark.long
    def test_a_class_that_is_not_there_is_found_with_the_application(self, tmp_path: Path) -> None:
        (tmp_path / "main.py").write_text("async def app(scope, receive, send): pass\n")
        (tmp_path / "log.toml").write_text('version = 1\n[handlers.mine]\nclass = "main.Missing"\n')
        run = appserver("check", "main:app", "--log-config", "log.toml", "--app", directory=tmp_path)
        assert run.returncode == 2
        assert run.stderr.startswith("log.toml: logging.config_file: handlers.mine: Cannot resolve 'main.Missing'")
