"""The Dockerfile, built and run: an image without an application, and the example on top of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from tests.support import application
from tests.support.address import Response
from tests.support.waiting import eventually
from tests.system.platforms.debian import run
from tests.system.platforms.engine import Container, Engine, compiled, one_cpu_granted

# Without the fixtures: the first test makes the Debian of all, which takes minutes on a busy machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300, func_only=True)]

# Leaves behind a process whose parent ends at once: number 1 of the container inherits it.
ORPHAN = """
import subprocess
subprocess.run(["sh", "-c", "sleep 0.3 & sleep 0.3 &"], check=True)
"""


@pytest.fixture
def mounted(tmp_path: Path) -> str:
    """The option that mounts the application of the tests."""
    folder = tmp_path / "app"
    folder.mkdir()
    shutil.copyfile(application.__file__, folder / "main.py")
    folder.chmod(0o755)
    (folder / "main.py").chmod(0o644)
    return f"--volume={folder}:/srv/app:ro"


def test_the_image_says_how_it_is_run(engine: Engine) -> None:
    config = engine.inspect("localhost/appserver")
    assert config["Entrypoint"] == ["appserver"]
    assert "APPSERVER_CONFIG=/etc/appserver/server.toml" in config["Env"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert config["Healthcheck"]["Test"][0] == "CMD", "exec form: the image needs no shell for it"


def test_nothing_of_the_build_is_left_in_the_image(engine: Engine, mounted: str) -> None:
    with Container(engine, "localhost/appserver", "contents", mounted) as container:
        assert (
            container.run("sh", "-c", "for name in appserver cc gcc g++ c++ make; do command -v $name; done").stdout
            == "/opt/appserver/bin/appserver\n"
        )
        assert container.run("ls", "-d", "/srv/app", "/src").stdout == "/srv/app\n"
        listed = container.run("/opt/appserver/bin/pip", "list", "--format=json").stdout
        assert "hatchling" not in {package["name"] for package in json.loads(listed)}


def test_nothing_but_the_application_is_compiled_at_each_start(engine: Engine, mounted: str) -> None:
    command = engine.command("--env=PYTHONVERBOSE=1", "--read-only", mounted, "localhost/appserver", "check", "--app")
    assert compiled(run(*command)) == ["/srv/app/main.py"]


def test_term_drains_and_ends_with_0_as_process_number_1(engine: Engine, mounted: str) -> None:
    with Container(engine, "localhost/appserver", "term", mounted) as container:
        assert {record["pid"] for record in container.log.matching("serving")} == {1}
        answers: list[Response] = []
        client = threading.Thread(target=lambda: answers.append(container.request("/sleep/3")))
        client.start()
        eventually(lambda: _running(container) == 1, "the request runs")
        assert container.stop() == 0
        client.join()
    assert [(answer.status, answer.text) for answer in answers] == [(200, "slept")]
    assert container.log.matching("lifespan shutdown")
    [line] = [record for record in container.output.records if record["path"] == "/sleep/3"]
    assert line["status"] == 200, "the access log is on standard output"


def _running(container: Container) -> int:
    status = json.loads(container.admin.request("GET", "/status").text)
    return sum(worker["in_progress"] for worker in status["workers"])


def test_a_settings_error_ends_the_container_with_2(engine: Engine, mounted: str) -> None:
    container = Container(engine, "localhost/appserver", "wrong", mounted, settings={"APPSERVER_WORKERS__CUONT": "2"})
    with pytest.raises(AssertionError, match="the log has ended"):
        container.__enter__()
    assert container.wait() == 2
    assert "APPSERVER_WORKERS__CUONT" in container.log.text


def test_orphans_are_reaped(engine: Engine, mounted: str) -> None:
    main = Path(mounted.removeprefix("--volume=").split(":")[0]) / "main.py"
    main.write_text(main.read_text() + ORPHAN)
    with Container(engine, "localhost/appserver", "orphans", mounted) as container:
        tree = Path(f"/proc/{container.pid}/task/{container.pid}/children")
        titles = eventually(lambda: _settled(tree), "no sleep is left, running or dead")
        assert all(title.startswith("appserver") for title in titles), titles
        assert container.stop() == 0


def _settled(children: Path) -> list[str]:
    titles = []
    for pid in children.read_text().split():
        try:
            name, state = _name_and_state(int(pid))
        except (FileNotFoundError, ProcessLookupError):  # it has just been reaped
            return []
        if state == "Z" or name == "sleep":
            return []
        titles.append(name)
    return titles


def _name_and_state(pid: int) -> tuple[str, str]:
    text = Path(f"/proc/{pid}/stat").read_text()
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, rest.split()[0]


@pytest.mark.parametrize("user", ["10001:10001", "54321:0"])
def test_it_runs_as_any_user_with_nothing_to_write_on(engine: Engine, user: str, mounted: str) -> None:
    options = ("--read-only", "--read-only-tmpfs=false", f"--user={user}", "--cap-drop=all", mounted)
    with Container(engine, "localhost/appserver", f"user-{user.split(':', maxsplit=1)[0]}", *options) as container:
        assert container.request("/ids").text.split()[:2] == user.split(":")
        touched = container.run("touch", "/tmp/x", "/srv/app/x", "/etc/appserver/x").stderr
        assert touched.count("Read-only file system") == 3, touched
        container.signal(signal.SIGHUP)
        assert container.log.wait_for("reload finished", timeout=30)["result"] == "ok"
        assert container.request().text == "hello"
        assert container.stop() == 0


def test_the_health_check_passes_when_it_serves_and_fails_when_it_does_not(engine: Engine, mounted: str) -> None:
    test = engine.inspect("localhost/appserver")["Healthcheck"]["Test"][1:]
    with Container(engine, "localhost/appserver", "health", mounted) as container:
        # The network is the tests' own, and so is the port.
        check = [word.replace("127.0.0.1:9464", str(container.admin)) for word in test]
        assert check != test
        assert container.run(*check).returncode == 0
        container.signal(signal.SIGSTOP)
        try:
            assert container.run(*check).returncode != 0
        finally:
            container.signal(signal.SIGCONT)
        assert container.run(*check).returncode == 0


def test_auto_counts_the_cpus_that_the_control_group_grants(engine: Engine, mounted: str, tmp_path: Path) -> None:
    with Container(engine, "localhost/appserver", "free", mounted) as container:
        assert container.log.matching("serving")[0]["workers"] == len(os.sched_getaffinity(0))
    with (
        one_cpu_granted(tmp_path) as (before, options),
        Container(engine, "localhost/appserver", "granted", mounted, *options, before=before) as container,
    ):
        assert container.log.matching("serving")[0]["workers"] == 1
        assert container.stop() == 0
    one = min(os.sched_getaffinity(0))
    pinned = f"taskset --pid --cpu-list {one} $$ >/dev/null"
    with Container(engine, "localhost/appserver", "pinned", mounted, before=pinned) as container:
        assert container.log.matching("serving")[0]["workers"] == 1


def test_a_fastapi_application_is_served_by_an_image_on_top(engine: Engine) -> None:
    with Container(engine, "localhost/shop", "shop", "--read-only", settings={"APPSERVER_WORKERS__COUNT": "2"}) as shop:
        assert json.loads(shop.request("/articles/1").text) == {"name": "Bicycle bell", "price": 12.5}
        assert shop.request("/articles/2").status == 404
        assert shop.request("/articles/none").status == 422
        assert shop.stop() == 0
