"""Merging the sources, origins, and every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserver.errors import Problem, SettingsError
from appserver.settings import Loaded, Origin, Override, Settings, load
from appserver.settings.model import SECTIONS
from appserver.settings.rendering import toml_value

DEFAULT = Origin("default")


class Load:
    """`load` of a file with the given text in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "server.toml"

    def __call__(
        self, text: str, environ: Mapping[str, str] | None = None, overrides: Sequence[Override] = ()
    ) -> Loaded:
        self.path.write_text(text)
        return load(self.path, environ=environ or {}, overrides=overrides)

    def problems(
        self, text: str, environ: Mapping[str, str] | None = None, overrides: Sequence[Override] = ()
    ) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self(text, environ, overrides)
        return str(caught.value).replace(str(self.path), "server.toml").splitlines()


@pytest.fixture
def loading(tmp_path: Path) -> Load:
    return Load(tmp_path)


APP = '[app]\ntarget = "a:b"\n'


class TestSources:
    def test_the_command_line_wins_over_the_environment_that_wins_over_the_file(self, loading: Load) -> None:
        text = f"{APP}[workers]\ncount = 1\nloop = 'asyncio'\nboot_timeout = 1\npreload = true\n"
        environ = {"APPSERVER_WORKERS__COUNT": "2", "APPSERVER_WORKERS__LOOP": "uvloop", "WEB_CONCURRENCY": "9"}
        loaded = loading(text, environ, [Override("workers.count", "3", "--workers")])
        workers, origins = loaded.settings.workers, loaded.origins
        assert (workers.count, workers.loop, workers.boot_timeout, workers.preload) == (3, "uvloop", 1, True)
        assert workers.graceful_timeout == 30
        assert origins["workers.count"] == Origin("command line", "--workers")
        assert origins["workers.loop"] == Origin("environment", "APPSERVER_WORKERS__LOOP")
        assert origins["workers.boot_timeout"] == Origin("file", str(loading.path))
        assert origins["workers.graceful_timeout"] == DEFAULT
        assert loaded.path == loading.path

    def test_web_concurrency_stands_for_the_default(self, loading: Load) -> None:
        environ = {"WEB_CONCURRENCY": "9"}
        assert loading(APP, environ).settings.workers.count == 9
        assert loading(APP, environ).origins["workers.count"] == Origin("environment", "WEB_CONCURRENCY")
        assert loading(f"{APP}[workers]\ncount = 2", environ).settings.workers.count == 2

    def test_a_list_is_replaced_as_a_whole(self, loading: Load) -> None:
        text = f'{APP}[[listeners]]\nbind = "127.0.0.1:1"\nbacklog = 5\n[[listeners]]\nbind = "127.0.0.1:2"\n'
        loaded = loading(text)
        assert [listener.backlog for listener in loaded.settings.listeners] == [5, 2048]
        assert loaded.origins["listeners[0].backlog"].source == "file"
        assert loaded.origins["listeners[1].backlog"] == DEFAULT
        loaded = loading(text, overrides=[Override("listeners", [{"bind": "127.0.0.1:3"}], "--bind")])
        [listener] = loaded.settings.listeners
        assert (str(listener.bind), listener.backlog) == ("127.0.0.1:3", 2048)
        assert loaded.origins["listeners[0].bind"] == Origin("command line", "--bind")
        assert "listeners[1].bind" not in loaded.origins

    def test_without_a_file_the_rest_is_enough(self) -> None:
        loaded = load(None, environ={}, overrides=[Override("app.target", "a:b", "argument")])
        assert loaded.path is None
        assert loaded.origins["app.target"] == Origin("command line", "argument")
        assert loaded.origins["listeners[0].bind"] == DEFAULT

    def test_the_environment_can_name_the_file(self, loading: Load) -> None:
        loading(APP)
        loaded = load(None, environ={"APPSERVER_CONFIG": str(loading.path)})
        assert loaded.path == loading.path
        assert load(loading.path, environ={"APPSERVER_CONFIG": "/nowhere"}).path == loading.path

    def test_of_several_files_the_later_one_is_stronger_key_by_key(self, tmp_path: Path) -> None:
        base, host, conf = tmp_path / "base.toml", tmp_path / "host.toml", tmp_path / "conf.d"
        conf.mkdir()
        base.write_text(f'{APP}[workers]\ncount = 1\nloop = "asyncio"\n[http]\nmax_headers = 1\n')
        host.write_text("[workers]\ncount = 2\n[http]\nmax_headers = 2\n")
        (conf / "50-local.toml").write_text("[http]\nmax_headers = 3\n")
        (conf / "10-first.toml").write_text("[http]\nmax_headers = 4\nmax_body_size = 4\n")
        loaded = load([base, host, conf], environ={})
        workers, http = loaded.settings.workers, loaded.settings.http
        assert (workers.count, workers.loop, http.max_headers, http.max_body_size) == (2, "asyncio", 3, 4)
        assert {key: Path(loaded.origins[key].where).name for key in ("workers.count", "workers.loop")} == {
            "workers.count": "host.toml",
            "workers.loop": "base.toml",
        }
        assert loaded.origins["http.max_headers"] == Origin("file", str(conf / "50-local.toml"))
        assert loaded.paths == (base, host, conf / "10-first.toml", conf / "50-local.toml")
        assert loaded.path == base

    def test_of_several_files_every_mistake_is_told_with_its_file(self, tmp_path: Path) -> None:
        base, host = tmp_path / "base.toml", tmp_path / "host.toml"
        base.write_text("[workers]\ncount = 0\nboot_timeout = 0\n[worker]\n")
        host.write_text("[workers]\ncount = 2\nlop = 1\n")
        with pytest.raises(SettingsError) as caught:
            load([base, host, tmp_path / "nowhere.toml"], environ={})
        assert [(Path(problem.where).name, problem.key) for problem in caught.value.problems] == [
            ("base.toml", "worker"),
            ("nowhere.toml", ""),
            ("base.toml", "workers.boot_timeout"),
            ("host.toml", "workers.lop"),
        ]

    def test_a_secret_is_stronger_than_a_file_and_weaker_than_the_environment(
        self, loading: Load, tmp_path: Path
    ) -> None:
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        (secrets / "appserver_tls__key_password").write_text("secret")
        text, environ = f"{APP}[tls]\nkey_password = 'file'", {"CREDENTIALS_DIRECTORY": str(secrets)}
        loaded = loading(text, environ)
        assert loaded.settings.tls.key_password is not None
        assert loaded.settings.tls.key_password.get_secret_value() == "secret"
        assert loaded.origins["tls.key_password"] == Origin("file", str(secrets / "appserver_tls__key_password"))
        loaded = loading(text, {**environ, "APPSERVER_TLS__KEY_PASSWORD": "environment"})
        assert loaded.origins["tls.key_password"].source == "environment"

    def test_settings_that_are_made_elsewhere_look_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APPSERVER_WORKERS__COUNT", "3")
        monkeypatch.setenv("WORKERS", '{"count": 3}')
        assert Settings.model_validate({"app": {"target": "a:b"}}).workers.count == "auto"

    def test_text_of_the_environment_becomes_what_the_key_wants(self, loading: Load) -> None:
        environ = {
            "APPSERVER_WORKERS__PRELOAD": "yes",
            "APPSERVER_WORKERS__BOOT_TIMEOUT": "1m30s",
            "APPSERVER_HTTP__MAX_BODY_SIZE": "1MiB",
            "APPSERVER_ACCESS_LOG__SAMPLE": "0.5",
            "APPSERVER_LOGGING__LEVEL": "WARNING",
            "APPSERVER_HTTP__HEADERS": '["X-A: b"]',
            "APPSERVER_ADMIN": '{"pid_file": ""}',
        }
        settings = loading(APP, environ).settings
        assert (settings.workers.preload, settings.workers.boot_timeout) == (True, 90)
        assert (settings.http.max_body_size, settings.http.headers) == (2**20, (("X-A", "b"),))
        assert (settings.access_log.sample, settings.logging.level) == (0.5, "warning")
        assert settings.admin.pid_file is None

    def test_loading_again_gives_the_same(self, loading: Load) -> None:
        overrides = [Override("listeners", [{"bind": "127.0.0.1:1"}], "--bind")]
        assert loading(APP, {}, overrides) == loading(APP, {}, overrides)

    def test_what_the_caller_gave_is_not_changed_by_a_mistake_in_it(self, loading: Load) -> None:
        overrides = [
            Override("listeners", [{"bind": "x", "backlog": 0}], "--bind"),
            Override("http", {"x": 1}, "--set"),
        ]
        first = loading.problems(APP, {}, overrides)
        assert len(first) == 3
        assert loading.problems(APP, {}, overrides) == first


class TestProblems:
    def test_all_of_them_are_reported_at_once_from_every_source(self, loading: Load) -> None:
        text = """
            count = 3
            [worker]
            [app]
            directory = "/nowhere"
            [workers]
            cuont = 4
            boot_timeout = "soon"
            queue_size = 3
            [[listeners]]
            bind = "127.0.0.1:80"
            backlog = 0
            [[listeners]]
            bind = "127.0.0.1:80"
            [proxy]
            trusted = ["a", "::1", "b"]
            """
        environ = {"APPSERVER_HTTP__MAX_HEADERS": "-1", "APPSERVER_HTPP__PARSER": "h11", "WEB_CONCURRENCY": "0"}
        problems = loading.problems(text, environ, [Override("http.parser", "lex", "--set")])
        assert [problem.partition(": expected")[0] for problem in problems] == [
            "server.toml: count = 3: unknown key; did you mean workers.count?",
            "server.toml: worker: unknown section; did you mean [workers]?",
            "APPSERVER_HTPP__PARSER: unknown environment variable; did you mean APPSERVER_HTTP__PARSER?",
            "server.toml: app.target: required; expected module:attribute of the application",
            "server.toml: listeners[0].backlog = 0",
            'WEB_CONCURRENCY: workers.count = "0"',
            'server.toml: workers.boot_timeout = "soon"',
            "server.toml: workers.cuont = 4: unknown key; did you mean workers.count?",
            '--set: http.parser = "lex"',
            'APPSERVER_HTTP__MAX_HEADERS: http.max_headers = "-1"',
            'server.toml: proxy.trusted[0] = "a"',
            'server.toml: proxy.trusted[2] = "b"',
            'server.toml: app.directory = "/nowhere": no such directory',
            'server.toml: listeners[1].bind = "127.0.0.1:80": already the address of listeners[0].bind',
            "server.toml: workers.queue_size = 3",
        ]

    def test_a_file_that_cannot_be_read_hides_no_other_problem_and_makes_none_up(self, loading: Load) -> None:
        environ = {"APPSERVER_WORKERS__COUNT": "x", "APPSERVER_CONFIG": str(loading.path)}
        with pytest.raises(SettingsError) as caught:
            load(None, environ=environ)
        first, second = caught.value.problems
        assert str(first) == f"{loading.path}: no such file"
        assert (second.where, second.key) == ("APPSERVER_WORKERS__COUNT", "workers.count")

    def test_nothing_is_concluded_from_a_value_that_is_wrong(self, loading: Load) -> None:
        for text in (
            "[[listeners]]\nbind = 'x'\n[[listeners]]",
            "[[listeners]]\nbind = 'x'\nmode = '0600'",
            "[workers]\nqueue_size = 3\nmax_concurrency = 'x'",
        ):
            assert len(loading.problems(f"{APP}{text}")) == 1, text

    def test_a_secret_is_not_in_any_message(self, loading: Load) -> None:
        text = f"{APP}[tls]\nkey_password = 'geheim'\nkey_pasword = 'geheim'\n[[tls.sni]]\nkey_password = 'geheim'"
        problems = loading.problems(text, {"APPSERVER_TLS": "geheim"})
        assert len(problems) == 6
        assert "geheim" not in "".join(problems)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('listeners = ["x", {bind = 3}, {}]', ["listeners[0]", "listeners[1].bind"]),
            ("[listeners]\nbind = 'x'", ["listeners"]),
            ("listeners = [[], 3]", ["listeners[0]", "listeners[1]"]),
            ("listeners = 3", ["listeners"]),
            ("[[listeners]]\nbind = {}\nbakclog = []", ["listeners[0].bind", "listeners[0].bakclog"]),
            ("tls.sni = [3]", ["tls.sni[0]"]),
            ("[tls.sni]\nname = 'x'", ["tls.sni"]),
            ("[workers.count]\nx = 1", ["workers.count"]),
            ("http.headers = [[], {}, 3, 1979-05-27]", [f"http.headers[{index}]" for index in range(4)]),
            ("metrics.buckets = [nan]", ["metrics.buckets[0]"]),
            ("workers.graceful_timeout = inf", ["workers.graceful_timeout"]),
            (f"workers.max_connections = {'9' * 4000}", ["workers.max_connections"]),
            (f"http.server_header = '{'ä' * 10_000}'", ["http.server_header"]),
            ("app.directory = 07:32:00", ["app.directory"]),
            ("workers.target = 1", ["workers.target"]),
        ],
    )
    def test_a_value_of_any_shape_is_a_problem_of_its_key(self, loading: Load, text: str, expected: list[str]) -> None:
        with pytest.raises(SettingsError) as caught:
            loading(text, overrides=[Override("app.target", "a:b", "argument")])
        assert [problem.key for problem in caught.value.problems] == expected
        assert all(len(problem.value) <= 100 for problem in caught.value.problems)
        assert all(problem.where == str(loading.path) for problem in caught.value.problems)

    def test_a_number_with_more_digits_than_python_converts_is_no_toml(self, loading: Load) -> None:
        assert loading.problems("x = " + "9" * 5000)[0].startswith("server.toml: not TOML: ")

    def test_text_that_is_no_unicode_is_a_problem_of_its_key(self, loading: Load) -> None:
        [problem] = loading.problems(APP, {"APPSERVER_APP__DIRECTORY": "/srv/\udcff"})
        assert problem.startswith('APPSERVER_APP__DIRECTORY: app.directory = "/srv/\\udcff": expected text')


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "auto", "1m", "1KiB", "a:b", "127.0.0.1:1", "/"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bind", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS_AND_SLIPS = st.sampled_from([*{name for model in SECTIONS.values() for name in model.model_fields}, "x"])


@given(st.dictionaries(st.sampled_from([*SECTIONS, "x"]), VALUES | st.dictionaries(KEYS_AND_SLIPS, VALUES, max_size=4)))
def test_any_toml_is_settings_or_a_list_of_problems(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("\n".join(f"{key} = {toml_value(value)}" for key, value in document.items()))
    problems: Sequence[Problem] = ()
    try:
        load(path, environ={})
    except SettingsError as error:
        problems = error.problems
    assert all(problem.expected and "\n" not in str(problem) for problem in problems)
