"""The files, the secrets, the environment and the command line, as sources."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from appserver.errors import Problem
from appserver.settings.keys import KEYS
from appserver.settings.model import LISTS_OF_TABLES
from appserver.settings.origins import Origin
from appserver.settings.places import Override, settings_files
from appserver.settings.sources import (
    FileSource,
    Source,
    conventional,
    environment,
    options,
    secrets,
)

Read = tuple[list[Source], list[Problem]]


def everything(found: Iterable[Source], problems: list[Problem]) -> Read:
    """Return the sources that hold something, and all problems."""
    sources = list(found)
    return [source for source in sources if source()], problems + [one for source in sources for one in source.problems]


def values(sources: list[Source]) -> list[dict[str, Any]]:
    return [source() for source in sources]


def test_an_origin_reads_as_its_kind_and_its_name() -> None:
    assert str(Origin("environment", "APPSERVER_WORKERS__COUNT")) == "environment: APPSERVER_WORKERS__COUNT"
    assert str(Origin("default")) == "default"


class TestFile:
    def read(self, tmp_path: Path, content: str | bytes) -> FileSource:
        file = tmp_path / "server.toml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return FileSource(file)

    def test_what_it_says_is_there_with_its_name(self, tmp_path: Path) -> None:
        source = self.read(tmp_path, '[app]\ntarget = "a:b"\n[[listeners]]\nbind = "x"\n[[listeners]]\n[workers]\n')
        assert source() == {"app": {"target": "a:b"}, "listeners": [{"bind": "x"}, {}], "workers": {}}
        assert source.origin == Origin("file", str(tmp_path / "server.toml"))
        assert (source.problems, source.is_readable) == ([], True)

    def test_the_byte_order_mark_of_an_editor_is_no_mistake(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "\ufeff[http]\nmax_headers = 3\n").problems == []

    def test_a_pipe_is_read_as_well(self) -> None:
        read, write = os.pipe()
        os.write(write, b"[http]\nmax_headers = 3\n")
        os.close(write)
        try:
            assert FileSource(Path(f"/dev/fd/{read}"))() == {"http": {"max_headers": 3}}
        finally:
            os.close(read)

    def test_a_pipe_that_nobody_writes_into_is_not_waited_for_for_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("appserver.files.regular.PATIENCE", 0.01)
        os.mkfifo(tmp_path / "server.toml")
        source = FileSource(tmp_path / "server.toml")
        assert not source.is_readable
        assert "it has not come to its end within 0.01 s" in str(source.problems[0])

    @pytest.mark.parametrize("kind", ["device", "sparse file"])
    def test_what_has_no_end_is_not_read_to_it(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "server.toml"
        if kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 1024**4)
        source = FileSource(path)
        assert not source.is_readable
        assert "it is larger than 1048576 bytes" in str(source.problems[0])

    def test_a_tilde_is_no_home_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("~nobody-at-all").mkdir()
        Path("~nobody-at-all/server.toml").write_text("[http]\nmax_headers = 3\n")
        assert FileSource(Path("~nobody-at-all/server.toml"))() == {"http": {"max_headers": 3}}

    @pytest.mark.parametrize(
        ("content", "key", "value", "expected"),
        [
            ("workers = 4", "workers", "4", "expected a table: [workers]"),
            ("[[workers]]\ncount = 4", "workers", "[{count = 4}]", "expected a table: [workers]"),
            ("[worker]\ncount = 4", "worker", "", "unknown section; did you mean [workers]?"),
            ("count = 4", "count", "4", "unknown key; did you mean workers.count?"),
            ('"a\\nb" = 4', '"a\\nb"', "4", "unknown key; the sections are"),
            ('key_password = "geheim"', "key_password", "********", "unknown key; did you mean tls.key_password?"),
            ('tls = "geheim"', "tls", "********", "expected a table: [tls]"),
        ],
    )
    def test_what_is_no_section_is_a_problem(
        self, tmp_path: Path, content: str, key: str, value: str, expected: str
    ) -> None:
        source = self.read(tmp_path, content)
        [problem] = source.problems
        assert source() == {}
        assert (problem.where, problem.key, problem.value) == (str(tmp_path / "server.toml"), key, value)
        assert problem.expected.startswith(expected)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("[app]\ntarget = main:app\n", "not TOML: Invalid value (at line 2, column 10)"),
            ("[app]\n[app]\n", "not TOML: Cannot declare ('app',) twice"),
            (b"[app]\n# fine\n# \xff\n", "not UTF-8 (at line 3); expected a TOML file"),
            ("a = " + "[" * 100_000, "not TOML: "),
            ("a = " + "9" * 5000, "not TOML: "),
        ],
    )
    def test_a_file_that_is_no_toml_is_one_problem_with_its_line(
        self, tmp_path: Path, content: str | bytes, expected: str
    ) -> None:
        source = self.read(tmp_path, content)
        [problem] = source.problems
        assert not source.is_readable
        assert str(problem).startswith(f"{tmp_path / 'server.toml'}: {expected}")

    def test_a_file_that_is_not_there_or_no_file_is_one_problem(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        sources = [FileSource(tmp_path / path) for path in ("missing.toml", ".", "file/server.toml")]
        assert not any(source.is_readable for source in sources)
        assert [problem.expected for source in sources for problem in source.problems] == [
            "no such file",
            "is a directory; expected a TOML file",
            "cannot be read: Not a directory",
        ]


class TestEnvironment:
    def read(self, **environ: str) -> Read:
        problems: list[Problem] = []
        return everything(environment(environ, problems), problems)

    def test_scalars_are_taken_as_text_and_lists_and_tables_as_json(self) -> None:
        read, problems = self.read(
            APPSERVER_WORKERS__COUNT="4",
            APPSERVER_APP__ROOT_PATH="8000",
            APPSERVER_ADMIN__BIND="8000",
            APPSERVER_ACCESS_LOG__EXCLUDE_PATHS='["/healthz"]',
            APPSERVER_LISTENERS='[{"bind": "127.0.0.1:1"}]',
            APPSERVER_HTTP='{"max_headers": 3, "parser": "h11"}',
            OTHER="x",
            APPSERVER="x",
        )
        assert problems == []
        assert values(read) == [
            {"http": {"max_headers": 3, "parser": "h11"}},
            {"listeners": [{"bind": "127.0.0.1:1"}]},
            {"access_log": {"exclude_paths": ["/healthz"]}},
            {"admin": {"bind": "8000"}},
            {"app": {"root_path": "8000"}},
            {"workers": {"count": "4"}},
        ]

    @pytest.mark.parametrize("name", [name for name, key in KEYS.items() if key.section not in LISTS_OF_TABLES])
    def test_whether_a_variable_is_json_is_known_from_the_model(self, name: str) -> None:
        key = KEYS[name]
        [source], problems = self.read(**{key.variable: "[1]"})
        assert problems == []
        assert source() == {key.section: {key.name: [1] if key.is_list or key.is_table else "[1]"}}

    def test_the_variable_of_a_key_comes_after_the_one_of_its_section(self) -> None:
        read, _ = self.read(APPSERVER_HTTP__PARSER="h11", APPSERVER_HTTP='{"parser": "auto"}')
        assert values(read) == [{"http": {"parser": "auto"}}, {"http": {"parser": "h11"}}]
        assert read[1].origin == Origin("environment", "APPSERVER_HTTP__PARSER")

    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("APPSERVER_WORKER__COUNT", "4", "unknown environment variable; did you mean APPSERVER_WORKERS__COUNT?"),
            ("appserver_workers__count", "4", "unknown environment variable; did you mean APPSERVER_WORKERS__COUNT?"),
            ("APPSERVER_PORT", "8000", "unknown environment variable; the form is APPSERVER_SECTION__KEY"),
            ("APPSERVER_PROXY__TRUSTED", "::1", 'proxy.trusted = "::1": expected a list as JSON (Expecting value'),
            ("APPSERVER_PROXY__TRUSTED", "[" * 100_000, 'proxy.trusted = "[[['),
            ("APPSERVER_LISTENERS", "", 'listeners = "": expected a list of tables as JSON (Expecting value'),
            ("APPSERVER_HTTP", "{", 'http = "{": expected a table as JSON (Expecting property name'),
            ("APPSERVER_HTTP", "[]", "http = []: expected a table: [http]"),
            ("APPSERVER_TLS", "{'key_password': 'x'}", "tls = ********: expected a table as JSON"),
            ("APPSERVER_METRICS__BUCKETS", "9" * 5000, 'metrics.buckets = "999'),
        ],
    )
    def test_what_cannot_be_read_is_a_problem_that_names_the_variable(
        self, variable: str, value: str, said: str
    ) -> None:
        read, [problem] = self.read(**{variable: value})
        assert read == []
        assert str(problem).startswith(f"{variable}: {said}")

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("APPSERVER_CONFIG", "server.toml"),
            ("APPSERVER_COMPILE", "1"),  # it was said to pip
            ("APPSERVER_SERVICE_HOST", "10.0.0.1"),
            ("APPSERVER_SERVICE_PORT", "80"),
            ("APPSERVER_SERVICE_PORT_HTTP", "80"),
            ("APPSERVER_BLUE_SERVICE_HOST", "10.0.0.1"),
            ("APPSERVER_PORT", "tcp://10.0.0.1:80"),
            ("APPSERVER_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("APPSERVER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ],
    )
    def test_what_others_tell_by_variables_of_the_same_beginning_is_no_setting(self, variable: str, value: str) -> None:
        assert self.read(**{variable: value}) == ([], [])


class TestConventional:
    def test_the_variables_that_other_servers_know_are_read(self) -> None:
        read = list(conventional({"WEB_CONCURRENCY": "3", "FORWARDED_ALLOW_IPS": "127.0.0.1, ::1"}))
        assert values(read) == [{"workers": {"count": "3"}}, {"proxy": {"trusted": ["127.0.0.1", "::1"]}}]
        assert [source.origin.where for source in read] == ["WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"]

    def test_empty_they_count_as_not_set(self) -> None:
        assert list(conventional({"WEB_CONCURRENCY": "", "FORWARDED_ALLOW_IPS": ""})) == []


class TestOverrides:
    @pytest.mark.parametrize(
        ("text", "key", "value"),
        [
            ("workers.count=4", "workers.count", "4"),
            ("workers.boot_timeout=1.5", "workers.boot_timeout", 1.5),
            ("workers.boot_timeout = 1m30s", "workers.boot_timeout", "1m30s"),
            ("app.factory=true", "app.factory", True),
            ("app.root_path=8000", "app.root_path", "8000"),
            ('app.root_path="/api"', "app.root_path", "/api"),
            ("app.target=main:app", "app.target", "main:app"),
            ('proxy.trusted=["*"]', "proxy.trusted", ["*"]),
            ('listeners=[{bind="a:1"}]', "listeners", [{"bind": "a:1"}]),
            ("http={max_headers=3}", "http", {"max_headers": 3}),
            ("http.max_headers=3\nx = 4", "http.max_headers", "3\nx = 4"),
            ("http.server_header=", "http.server_header", ""),
            ("a.b=c=d", "a.b", "c=d"),
            (f"a.b={'[' * 100_000}", "a.b", "[" * 100_000),
        ],
    )
    def test_a_value_is_toml_or_else_text(self, text: str, key: str, value: object) -> None:
        assert Override.parse(text, "--set") == Override(key, value, "--set")

    @pytest.mark.parametrize("text", ["workers.count", "=4", " = 4", ""])
    def test_what_sets_nothing_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"expected section\.key=value"):
            Override.parse(text, "--set")

    def test_they_are_read_in_their_order(self) -> None:
        overrides = [Override("workers.count", "4", "--workers"), Override("workers", {"count": 5}, "--set")]
        read, problems = everything(options(overrides), [])
        assert values(read) == [{"workers": {"count": "4"}}, {"workers": {"count": 5}}]
        assert [source.origin for source in read] == [
            Origin("command line", "--workers"),
            Origin("command line", "--set"),
        ]
        assert problems == []

    def test_one_for_an_unknown_section_is_a_problem(self) -> None:
        read, problems = everything(options([Override("worker.count", "4", "--set"), Override("http", 3, "--set")]), [])
        assert read == []
        assert [str(problem) for problem in problems] == [
            "--set: worker: unknown section; did you mean [workers]?",
            "--set: http = 3: expected a table: [http]",
        ]


class TestFiles:
    def test_they_are_those_that_are_named_and_of_a_directory_all_settings_files_by_name(self, tmp_path: Path) -> None:
        for name in ("20-host.toml", "10-base.toml", "notes.txt"):
            (tmp_path / name).touch()
        other = tmp_path / "elsewhere" / "server.toml"
        expected = (other, tmp_path / "10-base.toml", tmp_path / "20-host.toml")
        assert settings_files([other, tmp_path], {"APPSERVER_CONFIG": "x"}) == expected
        assert settings_files(other, {}) == (other,)

    def test_a_directory_without_any_is_left_to_be_complained_about(self, tmp_path: Path) -> None:
        assert settings_files([tmp_path], {}) == (tmp_path,)

    def test_the_environment_can_name_several(self) -> None:
        assert settings_files(None, {"APPSERVER_CONFIG": "a.toml:b/c.toml"}) == (Path("a.toml"), Path("b/c.toml"))
        assert settings_files(None, {"APPSERVER_CONFIG": ""}) == settings_files(None, {}) == ()


class TestSecrets:
    def read(self, **environ: object) -> Read:
        problems: list[Problem] = []
        return everything(secrets({name: str(value) for name, value in environ.items()}, problems), problems)

    def test_a_file_stands_for_the_variable_of_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "..data").mkdir()
        (tmp_path / "..data" / "password").write_text(" geh\u00e9im \n", encoding="utf-8")
        # As Kubernetes does it.
        (tmp_path / "appserver_tls__key_password").symlink_to(Path("..data", "password"))
        (tmp_path / "database_password").write_bytes(b"\xff")
        (tmp_path / "appserver_database_password").write_bytes(b"\xff")
        for variable in ("CREDENTIALS_DIRECTORY", "APPSERVER_SECRETS_DIR"):
            [source], problems = self.read(**{variable: tmp_path})
            assert problems == []
            assert source() == {"tls": {"key_password": " geh\u00e9im "}}
            assert source.origin == Origin("file", str(tmp_path / "appserver_tls__key_password"))

    def test_of_several_directories_the_later_one_is_stronger_and_those_of_others_do_not_count(
        self, tmp_path: Path
    ) -> None:
        for name in ("a", "b", "c"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "APPSERVER_TLS__KEY_PASSWORD").write_text(name)
        read, _ = self.read(APPSERVER_SECRETS_DIR=f"{tmp_path}/a:{tmp_path}/b", CREDENTIALS_DIRECTORY=tmp_path / "c")
        assert values(read) == [{"tls": {"key_password": "a"}}, {"tls": {"key_password": "b"}}]

    def test_what_cannot_be_read_and_what_is_misspelt_is_a_problem(self, tmp_path: Path) -> None:
        (tmp_path / "appserver_tls__key_password").mkdir()
        (tmp_path / "APPSERVER_TLS").write_bytes(b"\xff")
        (tmp_path / "appserver_tls__key_pasword").write_text("geheim")
        read, problems = self.read(APPSERVER_SECRETS_DIR=f"{tmp_path}:{tmp_path}/nowhere")
        assert read == []
        assert [str(problem).replace(str(tmp_path), "secrets") for problem in problems] == [
            "secrets/APPSERVER_TLS: tls: not UTF-8; expected text",
            "secrets/appserver_tls__key_password: tls.key_password: cannot be read: Is a directory",
            "secrets/appserver_tls__key_pasword: unknown setting; did you mean APPSERVER_TLS__KEY_PASSWORD?",
            "APPSERVER_SECRETS_DIR: secrets/nowhere cannot be read: No such file or directory",
        ]

    def test_a_directory_that_nobody_has_named_need_not_be_there(self, tmp_path: Path) -> None:
        assert self.read(CREDENTIALS_DIRECTORY=tmp_path / "nowhere") == ([], [])
