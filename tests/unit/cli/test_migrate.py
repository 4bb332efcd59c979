"""`appserver migrate`: other servers' command lines, files and environments as settings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from appserver.cli import main
from appserver.cli.peers.migrate import migrate
from appserver.cli.peers.render import as_toml
from appserver.errors import UsageError

GUNICORN = """
import multiprocessing

print("this is a program")
bind = ["0.0.0.0:8080", "unix:/run/shop.sock"]
workers = multiprocessing.cpu_count() * 0 + 3
worker_class = "uvicorn.workers.UvicornWorker"
timeout = 120
keepalive = 5
preload_app = True
accesslog = "-"
errorlog = "/var/log/shop.log"
forwarded_allow_ips = "10.0.0.0/8,10.1.0.1"
umask = 0o027
raw_env = ["A=b"]


def post_fork(server, worker):
    pass
"""


def toml(command: str, environ: Mapping[str, str] | None = None) -> str:
    words = command.split()
    return as_toml(migrate(words, environ or {}), words)


def settings(command: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    return tomllib.loads(toml(command, environ))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestCommandLines:
    def test_uvicorns(self) -> None:
        assert settings(
            "uvicorn example:app --workers 4 --host :: --port 80 --limit-max-requests=100 --no-access-log --loop uvloop"
            " --header X-A:1 --header X-B:2 --factory --ws none --log-level trace"
        ) == {
            "app": {"target": "example:app", "factory": True},
            "listeners": [{"bind": "[::]:80"}],
            "workers": {"count": 4, "max_requests": 100, "loop": "uvloop"},
            "http": {"headers": ["X-A: 1", "X-B: 2"]},
            "websocket": {"enabled": False},
            "logging": {"level": "debug"},
            "access_log": {"enabled": False},
        }

    def test_gunicorns_with_abbreviations_and_a_factory(self) -> None:
        assert settings("gunicorn -k gthread -w3 -b :8080 --max-requests-j 5 shop:create()") == {
            "app": {"target": "shop:create", "factory": True, "interface": "wsgi", "threads": 1},
            "listeners": [{"bind": "0.0.0.0:8080"}],
            "workers": {"count": 3, "max_requests_jitter": 5},
            "access_log": {"enabled": False},
        }

    def test_gunicorn_serves_wsgi_unless_it_is_told_otherwise(self) -> None:
        assert settings("gunicorn shop")["app"] == {"target": "shop:application", "interface": "wsgi", "threads": 1}
        assert settings("gunicorn --threads 4 shop")["app"]["threads"] == 4
        assert "threads" not in settings("gunicorn -k gevent shop")["app"]
        assert settings("gunicorn -k uvicorn_worker.UvicornWorker shop:app")["app"] == {"target": "shop:app"}

    def test_hypercorns_with_a_listener_that_does_not_encrypt(self) -> None:
        assert settings(
            "hypercorn shop -b 0.0.0.0:443 --insecure-bind 0.0.0.0:80 --certfile c.pem --keyfile k.pem -m 7"
        )["listeners"] == [{"bind": "0.0.0.0:443", "tls": True}, {"bind": "0.0.0.0:80"}]

    def test_hypercorns_worker_classes(self) -> None:
        assert settings("hypercorn -k trio shop:app")["app"] == {"target": "shop:app", "async_library": "trio"}
        assert settings("hypercorn -k uvloop shop:app")["workers"]["loop"] == "uvloop"
        assert "hypercorn has asyncio, uvloop and trio" in toml("hypercorn -k gevent shop:app")

    def test_granians(self) -> None:
        said = settings(
            "granian --interface asginl shop:app --workers-max-rss 300 --http1-header-read-timeout 2500 "
            "--workers-lifetime 1h30m --uds /run/x.sock --uds-permissions 660 --metrics --metrics-port 9000"
        )
        assert said["app"] == {"target": "shop:app", "interface": "asgi3", "lifespan": "off"}
        assert said["listeners"] == [{"bind": "unix:/run/x.sock", "mode": "660"}]
        assert said["workers"] == {"count": 1, "max_rss": "300MiB", "max_lifetime": "1h30m"}
        assert (said["http"], said["admin"]) == ({"header_timeout": 2.5}, {"bind": "127.0.0.1:9000"})

    def test_http2(self) -> None:
        assert settings("uvicorn a:b --http2")["http2"] == {"enabled": True}
        assert settings("gunicorn a:b --http-protocols h1")["http2"] == {"enabled": False}
        streams = settings("gunicorn a:b --http-protocols h1,h2 --http2-max-concurrent-streams 50")["http2"]
        assert streams == {"enabled": True, "max_concurrent_streams": 50}
        assert settings("granian a:b --http 1")["http2"] == {"enabled": False}

    def test_logging_configurations(self, tmp_path: Path) -> None:
        assert settings("uvicorn a:b --log-config log.yaml")["logging"] == {"config_file": "log.yaml"}
        assert settings("gunicorn a:b --log-config-json log.json")["logging"] == {"config_file": "log.json"}
        assert settings("hypercorn a:b --log-config json:log.json")["logging"] == {"config_file": "log.json"}
        assert "call the file log.txt.toml" in toml("hypercorn a:b --log-config toml:log.txt")
        assert settings("hypercorn a:b --log-config log.ini")["logging"] == {"config_file": "log.ini"}
        config = {"version": 1, "handlers": {"h": {"class": "logging.NullHandler"}}, "root": {"handlers": ["h"]}}
        (tmp_path / "gunicorn.conf.py").write_text(f"logconfig_dict = {config}\n")
        assert settings("gunicorn a:b")["logging"] == {"config": config}
        (tmp_path / "gunicorn.conf.py").write_text("logconfig_dict = {'formatters': {'a': {'()': print}}}\n")
        said = toml("gunicorn a:b")
        assert ("name them by their paths" in said, "logging" in tomllib.loads(said)) == (True, False)

    def test_daphnes(self) -> None:
        assert settings("daphne -b 0.0.0.0 -p 8001 -v 2 -t 30 --proxy-headers site.asgi:application") == {
            "app": {"target": "site.asgi:application", "lifespan": "off"},
            "listeners": [{"bind": "0.0.0.0:8001"}],
            "workers": {"count": 1},
            "http": {"request_timeout": 30},
            "proxy": {"headers": "x-forwarded", "trusted": ["*"]},
            "logging": {"level": "debug"},
        }

    def test_words_in_front_of_the_server_mean_nothing(self) -> None:
        assert settings("exec /opt/venv/bin/python -m uvicorn a:b --port 1")["listeners"] == [{"bind": "127.0.0.1:1"}]

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ("flask run", "one of uvicorn, gunicorn, hypercorn, granian, daphne"),
            ("", "one of uvicorn, gunicorn, hypercorn, granian, daphne"),
            ("uvicorn a:b --colour", "uvicorn 0.54 has no argument --colour"),
            ("uvicorn a:b --work 3", "uvicorn 0.54 has no argument --work"),
            ("gunicorn a:b -w", "expected one argument"),
            ("gunicorn -c nowhere.py a:b", "nowhere.py: no such file"),
        ],
    )
    def test_what_is_no_command_line_is_refused(self, command: str, expected: str) -> None:
        with pytest.raises(UsageError) as caught:
            toml(command)
        assert expected in str(caught.value)


class TestFastAPI:
    """`fastapi run` and `fastapi dev`, which find their application by a path."""

    APPLICATION = "from fastapi import FastAPI\n\n"

    def write(self, path: str, text: str = "") -> None:
        file = Path(path)
        for directory in reversed(file.parents):
            directory.mkdir(exist_ok=True)
        file.write_text(text)

    def test_run(self) -> None:
        self.write("main.py", self.APPLICATION + "app = FastAPI()\n")
        assert settings("fastapi run main.py --port 80 --workers 4 --proxy-headers --root-path /api") == {
            "app": {"target": "main:app", "root_path": "/api"},
            "listeners": [{"bind": "0.0.0.0:80"}],
            "workers": {"count": 4},
            "proxy": {"headers": "x-forwarded"},
        }
        usual = settings("uv run fastapi --no-verbose run", {"PORT": "8080"})
        assert (usual["listeners"], usual["workers"]) == ([{"bind": "0.0.0.0:8080"}], {"count": 1})

    def test_dev(self) -> None:
        self.write("main.py", self.APPLICATION + "app = FastAPI()\n")
        said = toml("fastapi dev main.py --reload-dir src")
        assert "for development start `appserver dev main:app`" in said
        assert tomllib.loads(said) == {
            "app": {"target": "main:app"},
            "listeners": [{"bind": "127.0.0.1:8000"}],
            "workers": {"count": 1},
            "dev": {"watch": ["src"]},
        }
        assert "appserver dev" not in toml("fastapi dev --no-reload main.py")
        assert "appserver dev" in toml("fastapi run --reload main.py")

    @pytest.mark.parametrize(
        ("files", "arguments", "app"),
        [
            (["app/main.py", "app/__init__.py"], "app/main.py", {"target": "app.main:app"}),
            (
                ["src/app/main.py", "src/app/__init__.py"],
                "src/app/main.py",
                {"target": "app.main:app", "directory": "src"},
            ),
            (["code/main.py"], "code/main.py", {"target": "main:app", "directory": "code"}),
            (["app/main.py", "app/__init__.py"], "", {"target": "app.main:app"}),
            (["shop/__init__.py"], "shop", {"target": "shop:app"}),
            (["shop/__init__.py"], "shop/__init__.py", {"target": "shop:app"}),
            (["api.py"], "--app other", {"target": "api:other"}),
            ([], "--entrypoint shop.web:site", {"target": "shop.web:site"}),
        ],
    )
    def test_the_module_is_found_by_its_path(self, files: list[str], arguments: str, app: dict[str, str]) -> None:
        for file in files:
            self.write(file, self.APPLICATION + "app: FastAPI = FastAPI()\n")
        assert settings(f"fastapi run {arguments}")["app"] == app

    @pytest.mark.parametrize(
        ("body", "name"),
        [
            ("zoo = FastAPI()\nshop = FastAPI()\n", "shop"),
            ("site = fastapi.FastAPI()\napi = make()\n", "api"),
            ("from web import application as app\n", "app"),
            ("site = FastAPI(title='x')\nother = 3\n", "site"),
        ],
    )
    def test_the_name_is_found_in_the_source(self, body: str, name: str) -> None:
        self.write("main.py", self.APPLICATION + body)
        assert settings("fastapi run main.py")["app"] == {"target": f"main:{name}"}

    def test_the_entry_of_the_project_comes_before_the_usual_files(self) -> None:
        self.write("main.py", self.APPLICATION + "app = FastAPI()\n")
        self.write("pyproject.toml", '[tool.fastapi]\nentrypoint = "shop:site"\n')
        assert settings("fastapi run")["app"] == {"target": "shop:site"}
        assert settings("fastapi run main.py")["app"] == {"target": "main:app"}

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("fastapi", "expected fastapi run or fastapi dev"),
            ("fastapi deploy", "expected fastapi run or fastapi dev"),
            ("fastapi run", "there is none of main.py, app.py"),
            ("fastapi run gone.py", "gone.py: no such file; run migrate where the application is"),
            ("fastapi run -e a:b broken.py", "--entrypoint does not go with a path or --app"),
            ("fastapi run -e a", "expected module:attribute, not 'a'"),
            ("fastapi run broken.py", "broken.py: it cannot be read"),
            ("fastapi run empty.py", "empty.py: no application found in it"),
            ("fastapi run package", "package/__init__.py: no such file, or something else"),
            ("fastapi run /dev/zero", "/dev/zero: no such file, or something else"),
            ("fastapi run --colour", "fastapi-cli 0.0) has no argument --colour"),
        ],
    )
    def test_what_cannot_be_found_is_said(self, command: str, said: str) -> None:
        self.write("broken.py", "def")
        self.write("empty.py", "x = other[0]()\nx.y = 1\nimport os\n")
        Path("package").mkdir()
        with pytest.raises(UsageError) as caught:
            toml(command)
        assert said in str(caught.value)

    @pytest.mark.parametrize("text", ["[tool", "tool = 3\n"])
    def test_a_project_that_cannot_be_read_is_said(self, text: str) -> None:
        self.write("pyproject.toml", text)
        with pytest.raises(UsageError, match=r"pyproject\.toml: "):
            toml("fastapi run")


class TestRemarks:
    def test_what_has_no_setting_is_told_with_the_reason(self) -> None:
        lines = " ".join(
            toml("gunicorn -k asgi a:b -D --worker-tmp-dir /dev/shm").split("# There is no setting for:")[1].split()
        )
        assert "-D: a service manager starts it in the background" in lines
        assert "--worker-tmp-dir /dev/shm: heartbeats are in shared memory" in lines

    def test_a_value_without_a_counterpart_is_told(self) -> None:
        assert "--loop rloop: workers.loop has no such value" in toml("granian --interface asgi a:b --loop rloop")

    def test_what_is_wrong_on_this_machine_is_told(self) -> None:
        assert 'tls.certificate = "x.pem": no such file' in toml("uvicorn a:b --ssl-certfile x.pem")

    def test_nothing_is_said_where_there_is_nothing_to_say(self) -> None:
        assert toml("uvicorn a:b --workers 2 --port 81") == (
            '# From: uvicorn a:b --workers 2 --port 81\n\n[app]\ntarget = "a:b"\n\n[[listeners]]\n'
            'bind = "127.0.0.1:81"\n\n[workers]\ncount = 2\n'
        )


class TestFiles:
    def test_gunicorns_program_is_run_in_a_process_of_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "conf.py").write_text(GUNICORN)
        said = toml("gunicorn -c conf.py shop:app -w 4")
        assert tomllib.loads(said) == {
            "app": {"target": "shop:app"},
            "listeners": [{"bind": "0.0.0.0:8080"}, {"bind": "unix:/run/shop.sock"}],
            "workers": {"count": 4, "stall_timeout": 120, "preload": True, "umask": "0027"},
            "http": {"keepalive_timeout": 5},
            "proxy": {"trusted": ["10.0.0.0/8", "10.1.0.1"]},
            "logging": {"file": "/var/log/shop.log"},
            "access_log": {"enabled": True},
        }
        assert "post_fork = post_fork (conf.py): a hook: the lifespan start-up runs in each worker" in said
        assert "put the line A=b into a file, and name it: app.env_file" in said

    def test_gunicorn_finds_its_file_by_itself_and_the_command_line_is_stronger(self, tmp_path: Path) -> None:
        (tmp_path / "gunicorn.conf.py").write_text(GUNICORN)
        assert settings("gunicorn shop:app -b 127.0.0.1:1")["listeners"] == [{"bind": "127.0.0.1:1"}]

    def test_a_program_that_fails_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "conf.py").write_text("1 / 0")
        with pytest.raises(UsageError, match=r"conf\.py: it cannot be read: ZeroDivisionError: division by zero"):
            toml("gunicorn -c conf.py shop:app")

    def test_hypercorns_toml(self, tmp_path: Path) -> None:
        (tmp_path / "hypercorn.toml").write_text(
            'bind = ["0.0.0.0:80"]\nworkers = 2\nkeep_alive_timeout = 9\ninclude_server_header = false\n'
            "startup_timeout = 7\nh2_max_concurrent_streams = 5\n"
        )
        said = settings("hypercorn -c hypercorn.toml shop:app")
        assert said["listeners"] == [{"bind": "0.0.0.0:80"}]
        assert said["workers"] == {"count": 2, "boot_timeout": 7}
        assert said["http"] == {"keepalive_timeout": 9, "server_header": ""}

    @pytest.mark.parametrize("location", ["file:conf.py", "python:conf"])
    def test_hypercorns_programs(self, tmp_path: Path, location: str) -> None:
        (tmp_path / "conf.py").write_text("workers = 2\n")
        assert settings(f"hypercorn -c {location} shop:app")["workers"] == {"count": 2}

    def test_one_value_in_the_place_of_a_list(self, tmp_path: Path) -> None:
        (tmp_path / "hypercorn.toml").write_text("bind = 4\n")
        assert settings("hypercorn -c hypercorn.toml shop:app")["listeners"] == [{"bind": "4:8000"}]
        (tmp_path / "gunicorn.conf.py").write_text("raw_env = 5\nbind = None\n")
        said = toml("gunicorn shop:app")
        assert "put the line 5 into a file" in said
        assert tomllib.loads(said)["listeners"] == [{"bind": "127.0.0.1:8000"}]

    @pytest.mark.parametrize("value", ["3.5", "[1]", "True", "-1", "512", "'zz'"])
    def test_a_umask_that_is_none(self, tmp_path: Path, value: str) -> None:
        (tmp_path / "gunicorn.conf.py").write_text(f"umask = {value}\n")
        with pytest.raises(UsageError) as error:
            settings("gunicorn shop:app")
        assert str(error.value) == f"umask: expected a number such as 0o027, not {value}"


class TestMistakes:
    @pytest.mark.parametrize("server", ["gunicorn", "hypercorn"])
    @pytest.mark.parametrize("mask", ["zz", "0999", "0o1000", "01777"])
    def test_a_umask_that_is_none(self, server: str, mask: str) -> None:
        with pytest.raises(UsageError) as error:
            settings(f"{server} --umask {mask} a:b")
        assert str(error.value) == f"umask: expected a number such as 0o027, not '{mask}'"

    def test_a_quotation_without_an_end(self) -> None:
        with pytest.raises(UsageError, match="GUNICORN_CMD_ARGS: No closing quotation"):
            settings("gunicorn a:b", {"GUNICORN_CMD_ARGS": "--bind 'x"})

    def test_digits_of_which_no_number_is_made(self) -> None:
        said = toml("uvicorn a:b --workers ²")
        assert tomllib.loads(said)["workers"] == {"count": "²"}
        assert "workers.count" in said.partition("# To be looked at:")[2]

    def test_a_worker_class_without_a_name(self, tmp_path: Path) -> None:
        (tmp_path / "gunicorn.conf.py").write_text("worker_class = {}\n")
        assert settings("gunicorn a:b")["app"]["interface"] == "wsgi"

    def test_a_number_that_is_none(self) -> None:
        with pytest.raises(UsageError, match="--http1-header-read-timeout soon: expected milliseconds"):
            settings("granian a:b --http1-header-read-timeout soon")

    def test_an_interface_that_there_is_not(self) -> None:
        said = toml("granian --interface bogus a:b")
        assert "interface" not in tomllib.loads(said)["app"]
        assert "--interface bogus: granian has asgi, asginl, rsgi and wsgi" in said


class TestSeveralAddresses:
    TLS = "--certfile cert.pem --keyfile key.pem"
    ENCRYPTED, INSECURE = {"bind": "127.0.0.1:8000", "tls": True}, {"bind": "0.0.0.0:81"}

    def test_hypercorn_without_tls_has_none_that_are_insecure(self) -> None:
        assert settings("hypercorn --insecure-bind :81 a:b")["listeners"] == [{"bind": "127.0.0.1:8000"}]
        assert settings("hypercorn --insecure-bind :81 --bind :82 a:b")["listeners"] == [{"bind": "0.0.0.0:82"}]

    def test_hypercorn_with_tls_has_them_besides_the_others(self) -> None:
        assert settings(f"hypercorn --insecure-bind :81 {self.TLS} a:b")["listeners"] == [self.ENCRYPTED, self.INSECURE]

    def test_each_kind_takes_the_place_of_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "h.toml").write_text('bind = [":80"]\ninsecure_bind = [":81"]\n')
        assert settings(f"hypercorn -c h.toml --bind 127.0.0.1:8000 {self.TLS} a:b")["listeners"] == [
            self.INSECURE,
            self.ENCRYPTED,
        ]

    def test_daphne_opens_all(self) -> None:
        tcp, unix = {"bind": "127.0.0.1:81"}, {"bind": "unix:/x"}
        assert settings("daphne -u /x a:b")["listeners"] == [unix]
        assert settings("daphne -u /x -p 81 a:b")["listeners"] == [tcp, unix]
        assert settings("daphne --fd 3 -b 127.0.0.1 a:b")["listeners"] == [
            {"bind": "127.0.0.1:8000"},
            {"bind": "fd://3"},
        ]


class TestEnvironment:
    def test_variables_of_uvicorn(self) -> None:
        environ = {"UVICORN_PORT": "81", "UVICORN_PROXY_HEADERS": "false", "UVICORN_APP": "a:b", "UVICORN_WORKERS": "2"}
        said = settings("uvicorn --workers 3", environ)
        assert said["app"] == {"target": "a:b"}
        assert (said["listeners"], said["workers"]) == ([{"bind": "127.0.0.1:81"}], {"count": 3})
        assert said["proxy"] == {"headers": "none"}

    def test_gunicorns_arguments(self) -> None:
        said = settings(
            "gunicorn a:b -w 2", {"GUNICORN_CMD_ARGS": "--workers=5 --threads 2 --bind=1.2.3.4:5 --timeout 9"}
        )
        assert said["listeners"] == [{"bind": "1.2.3.4:5"}]
        assert said["workers"] == {"stall_timeout": 9, "count": 2}

    def test_the_number_of_workers_that_both_take_from_the_environment_is_left_there(self) -> None:
        said = toml("WEB_CONCURRENCY=3 uvicorn a:b")
        assert "workers" not in tomllib.loads(said)
        assert "WEB_CONCURRENCY is set: workers.count follows it here, too" in said

    def test_the_port_of_a_platform(self) -> None:
        assert settings("gunicorn a:b", {"PORT": "5000"})["listeners"] == [{"bind": "0.0.0.0:5000"}]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UVICORN_PORT", "82")
    for arguments in (
        ["migrate", "--", "uvicorn", "a:b", "--workers", "2"],
        ["migrate", "uvicorn", "a:b", "--workers", "2"],
    ):
        assert main(arguments) == 0
        said = tomllib.loads(capsys.readouterr().out)
        assert said["listeners"] == [{"bind": "127.0.0.1:82"}]
        assert said["workers"] == {"count": 2}
