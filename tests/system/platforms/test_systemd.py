"""The units of systemd/, in a real systemd that has booted.

Every instance has a name of its own, which says what the test is about.
"""

from __future__ import annotations

import http.client
import json
import resource
import threading
import time
from pathlib import Path

import pytest

from tests.support.address import Address, Response
from tests.support.certificates import Authority
from tests.support.load import Load
from tests.support.proxies import free_ports
from tests.support.waiting import eventually
from tests.system.platforms.conftest import ENABLED, MakeInstance
from tests.system.platforms.debian import ROOT
from tests.system.platforms.machine import Machine, request

# Without the fixtures: the first test makes the Debian of all, which takes minutes on a busy machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300, func_only=True)]

GATE = 'import pathlib, time\nwhile not pathlib.Path("/srv/{name}/gate").exists():\n    time.sleep(0.05)\n'
TRUNCATED = "def app(:\n"


@pytest.fixture
def address() -> Address:
    """A port that nobody listens on."""
    return Address("127.0.0.1", free_ports(1)[0])


def listen_on(address: Address, **more: object) -> dict[str, object]:
    return {"listeners": [{"bind": str(address)}], **more}


def test_an_enabled_instance_is_there_after_boot(machine: Machine) -> None:
    unit = f"appserver@{ENABLED}.service"
    assert machine.run("systemctl", "is-enabled", unit).stdout.strip() == "enabled"
    machine.run("systemctl", "is-active", unit)
    journal = machine.run("journalctl", "--unit", unit, "--output=cat").stdout
    assert '"event":"listening","logger":"appserver.master"' in journal
    assert f"unix:/run/appserver/{ENABLED}.sock" in journal


def test_the_socket_unit_lets_the_web_server_connect_and_nobody_else(machine: Machine) -> None:
    path = f"/run/appserver/{ENABLED}.sock"
    assert machine.run("stat", "--format=%U %G %a", path).stdout.strip() == "root www-data 660"
    ask = (
        "import http.client, socket\nclient = http.client.HTTPConnection('localhost')\n"
        f"client.sock = socket.socket(socket.AF_UNIX)\nclient.sock.connect({path!r})\n"
        "client.request('GET', '/')\nprint(client.getresponse().read().decode())"
    )
    assert machine.run("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "python3", "-c", ask).stdout
    refused = machine.run("setpriv", "--reuid=games", "--clear-groups", "python3", "-c", ask, check=False)
    assert "PermissionError" in refused.stderr


def test_systemd_finds_nothing_wrong_with_the_units(machine: Machine) -> None:
    units = (f"appserver@{ENABLED}.service", f"appserver@{ENABLED}.socket")
    checked = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert checked.stdout + checked.stderr == ""


def test_the_exposure_is_less_than_2(machine: Machine) -> None:
    arguments = ("security", "--no-pager", "--json=short", "--threshold=20", f"appserver@{ENABLED}.service")
    assert json.loads(machine.run("systemd-analyze", *arguments).stdout)


def test_the_start_is_done_when_the_workers_serve(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("start", listen_on(address, workers={"count": 2}))
    instance.deploy_version("1", before=GATE.format(name="start"))
    instance.systemctl("start", "--no-block")
    eventually(lambda: instance.show("StatusText").startswith("booting: 0 of 2 workers"), "it says that it boots")
    assert instance.show("ActiveState") == "activating"
    (instance.directory / "gate").touch()
    instance.systemctl("start")  # joins the job that waits
    assert request(address).text == "hello"
    assert instance.show("ActiveState") == "active"
    assert instance.show("StatusText") == "serving: 2 of 2 workers, generation 1"


def test_a_start_that_takes_longer_than_systemd_waits_is_given_the_time(
    make_instance: MakeInstance, address: Address
) -> None:
    instance = make_instance("slow", listen_on(address), limits="TimeoutStartSec=4\nTimeoutStopSec=4")
    instance.deploy_version("1", before="import time; time.sleep(6)")
    instance.systemctl("start")
    assert instance.show("NRestarts") == "0"
    instance.systemctl("reload")
    assert instance.show("StatusText").endswith("generation 2; last reload: ok")
    answer = threading.Thread(target=request, args=(address, "/sleep/6"))
    answer.start()
    eventually(lambda: " 1 " in instance.command("status").stdout.splitlines()[-1], "the request runs")
    instance.systemctl("stop")
    answer.join()
    assert instance.show("Result") == "success"


def test_a_reload_waits_for_the_verdict(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("reload", listen_on(address))
    instance.systemctl("start")
    instance.deploy_version("2", before=GATE.format(name="reload"))
    reloading = threading.Thread(target=instance.systemctl, args=("reload",))
    reloading.start()
    instance.wait_until("ActiveState", "reloading")
    eventually(lambda: instance.show("StatusText").startswith("reloading: "), "it says so")
    assert request(address, "/version").text == "1"
    assert reloading.is_alive()
    (instance.directory / "gate").touch()
    reloading.join()
    assert request(address, "/version").text == "2"
    assert "last reload: ok" in instance.systemctl("status").stdout


def test_a_failed_reload_shows_in_the_status(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("broken", listen_on(address))
    instance.systemctl("start")
    instance.write(TRUNCATED)
    instance.systemctl("reload")
    status = instance.systemctl("status").stdout
    assert "Active: active (running)" in status
    assert "last reload: rolled_back (" in status
    assert "SyntaxError" in status
    assert request(address).text == "hello"
    instance.configure({"wrokers": {"count": 2}})
    instance.systemctl("reload")
    assert "last reload: refused (" in instance.systemctl("status").stdout
    instance.wait_until_journal_has('"result":"refused"', "--priority=err")
    failed = instance.command("reload", check=False)
    assert failed.returncode != 0
    assert request(address).text == "hello"


def test_an_upgrade_keeps_the_unit_and_its_main_process(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("upgrade", listen_on(address), limits="WatchdogSec=6")
    instance.systemctl("start")
    master = instance.show("MainPID")
    instance.command("upgrade")
    instance.wait_until_journal_has('"event":"upgraded"')
    assert instance.show("MainPID") == master
    instance.systemctl("reload")
    assert "generation 2; last reload: ok" in instance.show("StatusText")
    assert instance.show("NRestarts") == "0"


def test_a_restart_refuses_no_connection_that_comes_by_the_socket_unit(
    make_instance: MakeInstance, address: Address, machine: Machine
) -> None:
    instance = make_instance("socket", {"listeners": [{"bind": "systemd:http"}], "workers": {"count": 2}})
    instance.drop_in("port.conf", f"[Socket]\nListenStream=\nListenStream={address}\n", of="socket")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "appserver@socket.socket")
    assert instance.show("ActiveState") == "inactive"
    assert request(address).text == "hello", "the first connection starts the service"
    with Load(address, connections=16, pause=(0.0, 0.05), timeout=30.0) as load:
        for _ in range(2):
            load.wait_for_requests(200)
            instance.systemctl("restart")
        load.wait_for_requests(200)
    assert load.tally.failed == 0, load.tally


def test_a_stop_drains(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("drain", listen_on(address))
    instance.systemctl("start")
    answers: list[Response] = []
    client = threading.Thread(target=lambda: answers.append(request(address, "/sleep/3")))
    client.start()
    eventually(lambda: " 1 " in instance.command("status").stdout.splitlines()[-1], "the request runs")
    instance.systemctl("stop")
    client.join()
    assert [(answer.status, answer.text) for answer in answers] == [(200, "slept")]
    assert instance.show("ActiveState") == "inactive"
    assert (instance.show("Result"), instance.show("ExecMainStatus")) == ("success", "0")
    assert instance.show("TasksCurrent") in ("0", "[not set]")
    instance.wait_until_journal_has("lifespan shutdown")


def test_the_watchdog_restarts_a_server_whose_master_does_not_run(
    make_instance: MakeInstance, address: Address
) -> None:
    instance = make_instance("watchdog", listen_on(address), limits="WatchdogSec=3")
    instance.systemctl("start")
    master = instance.show("MainPID")
    instance.systemctl("kill", "--signal=STOP", "--kill-whom=main")
    instance.wait_until("NRestarts", "1")
    instance.wait_until("ActiveState", "active")
    assert instance.show("MainPID") != master
    assert "Watchdog timeout" in instance.wait_until_journal_has("Watchdog timeout")["MESSAGE"]
    assert request(address).text == "hello"


def test_a_worker_that_stays_blocked_is_the_masters_to_replace_not_the_watchdogs(
    make_instance: MakeInstance, address: Address
) -> None:
    # In the proportions of the unit: the watchdog's limit is three times the stall_timeout.
    workers = {"stall_report": 1, "stall_timeout": 3}
    instance = make_instance("blocked", listen_on(address, workers=workers), limits="WatchdogSec=9")
    instance.systemctl("start")
    client = threading.Thread(target=_ask_in_vain, args=(address, "/block/60"))
    client.start()
    instance.wait_until_journal_has('"reason":"stalled"')
    client.join()
    assert request(address).text == "hello"
    assert instance.show("NRestarts") == "0"


def _ask_in_vain(address: Address, target: str) -> None:
    try:
        request(address, target, timeout=60)
    except OSError:  # the worker is killed under it
        pass


def test_a_server_that_cannot_boot_workers_any_more_is_left_to_its_master(
    make_instance: MakeInstance, address: Address
) -> None:
    instance = make_instance("crashing", listen_on(address), limits="WatchdogSec=3")
    instance.systemctl("start")
    master = instance.show("MainPID")
    instance.write(TRUNCATED)
    _ask_in_vain(address, "/exit/1")
    crash = instance.wait_until_journal_has('"reason":"crashed"')
    enough = int(crash["__MONOTONIC_TIMESTAMP"]) / 1e6 + 7
    eventually(lambda: time.clock_gettime(time.CLOCK_MONOTONIC) > enough, "twice the watchdog's limit has gone by")
    assert "0 of 1 workers" in instance.show("StatusText")
    assert (instance.show("NRestarts"), instance.show("MainPID")) == ("0", master)
    instance.deploy_version("1")
    eventually(lambda: instance.show("StatusText").startswith("serving: 1 of 1"), "it has recovered", timeout=60)


def test_a_crash_of_everything_ends_in_a_restart(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("crash", listen_on(address, workers={"count": 2}))
    instance.systemctl("start")
    before = instance.pids()
    assert len(before) == 4
    instance.systemctl("kill", "--signal=KILL", "--kill-whom=all")
    instance.wait_until("NRestarts", "1")
    instance.wait_until("ActiveState", "active")
    assert request(address).text == "hello"
    assert not set(before) & set(instance.pids())


def test_a_killed_master_is_restarted_with_its_workers(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("master", listen_on(address))
    instance.systemctl("start")
    before = instance.pids()
    instance.systemctl("kill", "--signal=KILL", "--kill-whom=main")
    instance.wait_until("NRestarts", "1")
    instance.wait_until("ActiveState", "active")
    assert request(address).text == "hello"
    assert not set(before) & set(instance.pids())


def test_wrong_settings_are_not_tried_again(make_instance: MakeInstance) -> None:
    instance = make_instance("wrong", {"wrokers": {"count": 2}})
    assert instance.systemctl("start", check=False).returncode != 0
    assert (instance.show("ActiveState"), instance.show("ExecMainStatus")) == ("failed", "2")
    assert instance.show("NRestarts") == "0"
    entry = instance.wait_until_journal_has("wrokers")
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].startswith("appserver: /etc/appserver/wrong.toml: wrokers")


def test_an_application_that_cannot_start_is_tried_again_ever_more_rarely(
    make_instance: MakeInstance, address: Address
) -> None:
    instance = make_instance("trying", listen_on(address))
    instance.write(TRUNCATED)
    assert instance.systemctl("start", check=False).returncode != 0
    assert instance.wait_until_journal_has("SyntaxError")["PRIORITY"] == "3"
    eventually(lambda: int(instance.show("NRestarts")) >= 3, "it has been restarted three times", timeout=60)
    assert int(instance.show("RestartUSecNext").removesuffix("s").split(".")[0].replace("min", "") or 0) >= 1
    instance.deploy_version("1")
    instance.wait_until("ActiveState", "active", timeout=60)
    assert request(address).text == "hello"


def test_the_journal_gets_the_levels_right(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("journal", listen_on(address))
    instance.systemctl("start")
    request(address, "/log/careful")
    request(address, "/raise")
    # Each stream is written by a thread of its own, and any of the three may be the last.
    for text in ('"path":"/raise","query"', '"event":"careful"', "RuntimeError"):
        instance.wait_until_journal_has(text)
    levels = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}
    own = [entry for entry in instance.journal() if entry.get("_COMM") != "systemd"]
    records = [(entry, json.loads(entry["MESSAGE"])) for entry in own]
    assert len(records) > 5
    for entry, record in records:
        assert entry["SYSLOG_IDENTIFIER"] == "appserver-journal"
        assert entry["_PID"] == str(record["pid"])
        assert entry["PRIORITY"] == levels[record.get("level", "info")], record
    assert {record["event"] for entry, record in records if entry["PRIORITY"] == "4"} >= {"careful"}
    [error] = [record for entry, record in records if entry["PRIORITY"] == "3"]
    assert "RuntimeError" in error["exception"]
    requests = [entry["PRIORITY"] for entry, record in records if record["event"] == "request"]
    assert requests == ["6", "6"]


def test_lines_for_people_have_their_level_too(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("console", listen_on(address, logging={"format": "console"}))
    instance.systemctl("start")
    request(address, "/raise")
    entry = instance.wait_until_journal_has("RuntimeError: the application was asked to raise")
    assert entry["PRIORITY"] == "3"


def test_the_application_has_its_own_user_and_places_and_no_others(
    make_instance: MakeInstance, address: Address, machine: Machine
) -> None:
    instance = make_instance("sandbox", listen_on(address))
    (machine.tree / "etc/appserver/sandbox.env").write_text("SHOP_SECRET='from the file'\n")
    (machine.tree / "etc/appserver/sandbox.env").chmod(0o600)
    probe = """
import json, os, socket
def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__
found = {name: attempt(lambda: open(os.path.join(os.environ[name], "probe"), "w").write("x"))
         for name in ("STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "RUNTIME_DIRECTORY")}
found["/tmp"] = attempt(lambda: open("/tmp/probe", "w").write("x"))
found["/srv"] = attempt(lambda: open("/srv/sandbox/probe", "w").write("x"))
found["/etc"] = attempt(lambda: open("/etc/probe", "w").write("x"))
found["/home"] = attempt(lambda: os.listdir("/root"))
found["/proc/1"] = attempt(lambda: open("/proc/1/cmdline").read())
found["raw"] = attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
found["capabilities"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))]
found["secret"] = os.environ.get("SHOP_SECRET")
found["files"] = __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE)[0]
VERSION = json.dumps(found)
"""
    source = (instance.directory / "application.py").read_text()
    instance.write(source.replace('VERSION = "1"\n', probe))
    instance.systemctl("start")
    found = json.loads(request(address, "/version").text)
    assert found.pop("capabilities") == ["0" * 16, "0" * 16]
    assert found == {
        "STATE_DIRECTORY": "1",
        "CACHE_DIRECTORY": "1",
        "LOGS_DIRECTORY": "1",
        "RUNTIME_DIRECTORY": "1",
        "/tmp": "1",
        "/srv": "OSError",  # a read-only file system
        "/etc": "OSError",
        "/home": "PermissionError",
        "/proc/1": "FileNotFoundError",
        "raw": "OSError",
        "secret": "from the file",
        "files": min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),  # the machine has no more to give
    }
    assert int(request(address, "/ids").text.split()[0]) >= 61184  # systemd.exec(5), DynamicUser=


def test_a_key_that_only_root_may_read_is_passed_in_as_a_credential(
    make_instance: MakeInstance, address: Address, machine: Machine
) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(machine.tree / "etc/ssl/shop")
    key.chmod(0o600)
    credentials = Path("/run/credentials/appserver@tls.service")
    load = "\n".join(f"LoadCredential={file.name}:/etc/ssl/shop/{file.name}" for file in (certificate, key))
    settings = {
        "listeners": [{"bind": "systemd:http", "tls": True}],
        "tls": {"certificate": str(credentials / certificate.name), "key": str(credentials / key.name)},
    }
    instance = make_instance("tls", settings, limits=load)
    instance.drop_in("port.conf", f"[Socket]\nListenStream=\nListenStream={address}\n", of="socket")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "appserver@tls.socket")
    client = http.client.HTTPSConnection(address.host, address.port, context=authority.client(), timeout=20)
    client.request("GET", "/")
    assert client.getresponse().read() == b"hello"
    client.close()


def test_what_the_application_counts_survives_the_sandbox(make_instance: MakeInstance, address: Address) -> None:
    admin = Address("127.0.0.1", free_ports(1)[0])
    control = "/run/appserver/counting/control.sock"
    watched = {"admin": {"bind": str(admin), "control": control}, "metrics": {"application": True}}
    instance = make_instance("counting", listen_on(address, **watched))
    source = (instance.directory / "application.py").read_text()
    counter = 'import prometheus_client\nprometheus_client.Counter("shop_starts", "Starts.").inc()\n'
    instance.write(source.replace('VERSION = "1"\n', f'VERSION = "1"\n{counter}'))
    instance.systemctl("start")
    assert "shop_starts_total 1.0" in admin.request("GET", "/metrics").text


def test_the_limits_are_set(machine: Machine) -> None:
    unit = f"appserver@{ENABLED}.service"
    names = "MemoryHigh,MemoryMax,TasksMax,OOMPolicy,KillMode,Restart,RestartSteps"
    shown = dict(
        line.split("=", 1) for line in machine.run("systemctl", "show", f"--property={names}", unit).stdout.split()
    )
    assert 0 < int(shown["MemoryHigh"]) < int(shown["MemoryMax"])
    assert shown["TasksMax"] == "2048"
    assert (shown["OOMPolicy"], shown["KillMode"]) == ("continue", "mixed")
    assert (shown["Restart"], shown["RestartSteps"]) == ("on-failure", "6")


def test_the_drop_in_for_an_older_systemd_reloads_by_signal(make_instance: MakeInstance, address: Address) -> None:
    instance = make_instance("older", listen_on(address))
    drop_in = ROOT / "systemd/appserver@.service.d/older-systemd.conf"
    instance.drop_in(drop_in.name, drop_in.read_text())
    instance.machine.run("systemctl", "daemon-reload")
    assert instance.show("Type") == "notify"
    instance.systemctl("start")
    instance.deploy_version("2")
    instance.systemctl("reload")
    instance.wait_until("StatusText", "serving: 1 of 1 workers, generation 2; last reload: ok")
    assert request(address, "/version").text == "2"
    instance.systemctl("stop")
    assert instance.show("Result") == "success"
