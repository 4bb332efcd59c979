"""What deploy/lambda describes, as Lambda would run it: the image of a function, and the zip file."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runtime_api import RuntimeAPI, url_event
from tests.support.runtime_interface import fetch
from tests.system.platforms.debian import PYTHON, ROOT, run
from tests.system.platforms.engine import Engine, compiled
from tests.system.platforms.function import USER, UnderEmulator, UnderRuntimeAPI

pytestmark = [pytest.mark.long, pytest.mark.timeout(300, func_only=True)]

IMAGE = "localhost/shop-function"
EVENT = json.loads((ROOT / "deploy/lambda/event.json").read_text())
ARTICLE = {"name": "Bicycle bell", "price": 12.5}

# What Lambda has on its smallest function, and what a zip file may have unpacked.
SMALLEST = 128 * 1024 * 1024
MAX_UNPACKED = 250 * 1024 * 1024

# Says which files with bytecode of what a function imports are compared with their sources: by time, or by a hash. See PEP 552.
COMPARED = """
import appserver.aws.bootstrap, fastapi, main, sys
files = {module.__cached__ for module in list(sys.modules.values()) if getattr(module, "__cached__", None)}
places = ("/usr/lib/", "/opt/appserver/", "/srv/app/")
print([place for place in places if any(file.startswith(place) for file in files)])
print([file for file in files if open(file, "rb").read(8)[4:] != bytes([1, 0, 0, 0])])
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetch(tmp_path_factory.mktemp("emulator"))


@pytest.fixture
def api() -> Iterator[RuntimeAPI]:
    with RuntimeAPI() as api:
        yield api


@pytest.fixture(scope="module")
def root(engine: Engine, debian: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a file system that has the libraries of the system, a shell, no Python, and the zip file unpacked."""
    directory = tmp_path_factory.mktemp("zip")
    move_python(debian, directory / "moved")
    package(engine, wheels, directory)
    root = directory / "root"
    make_system(debian, root)
    shutil.move(directory / "out/build", root / "var/task")
    forget_times(root / "var/task")
    return root


class TestImage:
    @pytest.fixture
    def command(self, engine: Engine) -> list[str]:
        """What Lambda runs."""
        config = engine.inspect(IMAGE)
        assert not config.get("Cmd")
        entrypoint: list[str] = config["Entrypoint"]
        return entrypoint

    def test_it_answers_under_the_emulator(self, engine: Engine, emulator: Path, command: list[str]) -> None:
        with UnderEmulator(engine, emulator, IMAGE, "image", command, settings={"PYTHONVERBOSE": "1"}) as function:
            for _ in range(2):
                prelude, body = function.invoke(EVENT).split(bytes(8))
                assert json.loads(prelude)["statusCode"] == 200
                assert json.loads(body) == ARTICLE
            prelude, _ = function.invoke(url_event("/größe/%C3%A4/%20")).split(bytes(8))
            assert json.loads(prelude)["statusCode"] == 404
            assert "Internal agent appserver" in function.text, "it is to be told of the end"
            assert function.peak_memory() < SMALLEST
            paths = [record["path"] for record in function.records if record["event"] == "request"]
            assert paths == ["/articles/1", "/articles/1", "/größe/ä/ "]
            assert compiled(function.text) == []
            assert (
                json.loads(function.invoke({"Records": [{"eventSource": "aws:sqs"}]}))["errorType"]
                == "Function.UnknownEvent"
            )

    def test_it_streams_and_ends_with_the_signal(self, engine: Engine, api: RuntimeAPI, command: list[str]) -> None:
        with UnderRuntimeAPI(engine, api, IMAGE, "streaming", command) as function:
            outcome = api.invoke(url_event("/articles/1"))
            assert json.loads(outcome.split()[1]) == ARTICLE
            assert outcome.headers["lambda-runtime-function-response-mode"] == "streaming"
            assert api.registered == ["appserver"]
            status = Path(f"/proc/{function.pid}/status").read_text()
            assert f"Uid:\t{USER.split(':')[0]}\t" in status
            assert function.stop() == 0
            assert "exit cut off" not in function.text

    def test_what_keeps_it_from_starting_is_reported(self, engine: Engine, api: RuntimeAPI, command: list[str]) -> None:
        settings = {"APPSERVER_APP__TARGET": "main:shop"}
        with UnderRuntimeAPI(engine, api, IMAGE, "failing", command, settings=settings) as function:
            assert function.wait() == 4
        assert api.init_error["errorType"] == "Runtime.ImportModuleError"
        assert "main:shop" in api.init_error["errorMessage"]

    def test_its_bytecode_does_not_depend_on_the_times_of_files(self, engine: Engine) -> None:
        """Those of the base image are compiled anew: nobody says that Lambda keeps the times."""
        command = engine.command("--entrypoint=python3", IMAGE, "-c", COMPARED)
        assert run(*command).splitlines()[-2:] == ["['/usr/lib/', '/opt/appserver/', '/srv/app/']", "[]"]


class TestZipFile:
    def test_it_is_what_lambda_takes(self, root: Path) -> None:
        task = root / "var/task"
        assert {file.name for file in task.iterdir()} == {
            "__pycache__",
            "bootstrap",
            "main.py",
            "python",
            "server.toml",
        }
        assert [file.name for file in (task / "python/bin").iterdir()] == ["python3"]
        assert not [file for file in task.rglob("*") if file.is_symlink()], "SAM packs what they point at"
        files = [file.stat() for file in task.rglob("*")]
        assert sum(file.st_size for file in files) < MAX_UNPACKED
        assert all(file.st_mode & stat.S_IROTH for file in files)
        for program in ("bootstrap", "python/bin/python3"):
            assert (task / program).stat().st_mode & stat.S_IXOTH

    def test_the_emulator_finds_its_bootstrap(self, engine: Engine, emulator: Path, root: Path) -> None:
        settings = {"PYTHONVERBOSE": "1"}
        with UnderEmulator(engine, emulator, root, "zip", [], settings=settings) as function:
            for _ in range(2):
                prelude, body = function.invoke(EVENT).split(bytes(8))
                assert json.loads(prelude)["statusCode"] == 200
                assert json.loads(body) == ARTICLE
            assert function.peak_memory() < SMALLEST
            assert compiled(function.text) == []

    def test_without_streams_it_answers_as_the_template_says_and_ends_with_the_signal(
        self, engine: Engine, api: RuntimeAPI, root: Path
    ) -> None:
        settings = {"APPSERVER_LAMBDA__STREAMING": "false", "_HANDLER": "main:app"}
        with UnderRuntimeAPI(engine, api, root, "buffered", ["/var/task/bootstrap"], settings=settings) as function:
            answer = api.invoke(url_event("/articles/1")).json()
            assert answer["statusCode"] == 200
            assert json.loads(answer["body"]) == ARTICLE
            assert function.stop() == 0


def move_python(debian: Path, place: Path) -> None:
    """Make a Python that can be moved out of that of Debian, which has pip in another package.

    Like those of uv, it has no bytecode, and says that its packages are managed by others.
    """
    left_out = shutil.ignore_patterns("__pycache__", "sitecustomize.py")
    (place / "bin").mkdir(parents=True)
    shutil.copy(debian / "usr/bin/python3", place / "bin")
    shutil.copytree(debian / f"usr/lib/python{PYTHON}", place / f"lib/python{PYTHON}", ignore=left_out)
    library = place / f"lib/libpython{PYTHON}.so.1.0"
    library.touch()
    library.with_suffix("").with_suffix("").symlink_to(library.name)
    [pip] = (debian / "usr/share/python-wheels").glob("pip-*.whl")
    shutil.unpack_archive(pip, place / f"lib/python{PYTHON}", "zip")


def package(engine: Engine, wheels: Path, directory: Path) -> None:
    """Call the script in the Debian to which that Python belongs."""
    (directory / "out").mkdir()
    volumes = (f"--volume={ROOT}:/src:ro", f"--volume={wheels}:/wheels:ro", f"--volume={directory}:/scratch")
    pip = ("--env=PIP_NO_INDEX=1", "--env=PIP_FIND_LINKS=/wheels")
    script = ("sh", "/src/deploy/lambda/package.sh", "/scratch/out/build", "/scratch/moved/bin/python3")
    requirements = ("appserver-asgi[fast]", "-r", "/src/deploy/example/requirements.txt")
    run(*engine.command(*volumes, *pip, "localhost/base", *script, *requirements))


def make_system(debian: Path, root: Path) -> None:
    """Make the root of a system with a shell, the C library and that of GCC, as provided.al2023 has them, and no Python.

    Other libraries, which Debian's Python has in files of their own, are a part of those that are published.
    """
    programs = ("/bin/sh", f"/usr/bin/python{PYTHON}", f"/usr/lib/python{PYTHON}/lib-dynload/*.so")
    listed = run("chroot", debian, "sh", "-c", f"ldd {' '.join(programs)}").split()
    files = {"/bin/sh", *(word for word in listed if word.startswith("/") and not word.endswith(":"))}
    for package in ("libc6", "libgcc-s1"):
        [installed] = (debian / "var/lib/dpkg/info").glob(f"{package}:*.list")
        files |= {name for name in installed.read_text().split() if Path(name).match("lib/*/*.so*")}
    for name in files:
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(debian / name[1:], root / name[1:])
    for name in ("tmp", "var", "opt", "dev", "proc", "sys", "etc", "run"):
        (root / name).mkdir(exist_ok=True)


def forget_times(task: Path) -> None:
    """Have each file be of 1980, as in the zip files that SAM makes."""
    for file in task.rglob("*"):
        os.utime(file, (315532800, 315532800))
