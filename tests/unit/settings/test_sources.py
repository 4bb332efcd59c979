"""The file, the environment and the command line, read into assignments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appserver.errors import Problem
from appserver.settings.sources import (
    Assignment,
    Origin,
    Override,
    read_conventional,
    read_environment,
    read_file,
    read_overrides,
)

Flat = list[tuple[str, str | None, Any]]


def flat(assignments: list[Assignment] | None) -> Flat:
    assert assignments is not None
    return [(assignment.section, assignment.name, assignment.value) for assignment in assignments]


def test_an_origin_reads_as_its_kind_and_its_name() -> None:
    assert str(Origin("environment", "APPSERVER_WORKERS__COUNT")) == "environment: APPSERVER_WORKERS__COUNT"
    assert str(Origin("default")) == "default"


class TestFile:
    def read(self, tmp_path: Path, content: str | bytes) -> tuple[list[Assignment] | None, list[Problem]]:
        file = tmp_path / "server.toml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        problems: list[Problem] = []
        return read_file(file, problems), problems

    def test_every_key_becomes_an_assignment_and_a_list_of_tables_one(self, tmp_path: Path) -> None:
        read, problems = self.read(
            tmp_path,
            '[app]\ntarget = "a:b"\n[[listeners]]\nbind = "x"\n[[listeners]]\n[workers]\n[http]\nmax_headers = 3\n',
        )
        assert flat(read) == [
            ("app", "target", "a:b"),
            ("listeners", None, [{"bind": "x"}, {}]),
            ("http", "max_headers", 3),
        ]
        assert read is not None
        assert {assignment.origin for assignment in read} == {Origin("file", str(tmp_path / "server.toml"))}
        assert problems == []

    def test_the_byte_order_mark_of_an_editor_is_no_mistake(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "\ufeff[http]\nmax_headers = 3\n")[1] == []

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
        read, [problem] = self.read(tmp_path, content)
        assert read == []
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
        read, [problem] = self.read(tmp_path, content)
        assert read is None
        assert str(problem).startswith(f"{tmp_path / 'server.toml'}: {expected}")

    def test_a_file_that_is_not_there_or_no_file_is_one_problem(self, tmp_path: Path) -> None:
        problems: list[Problem] = []
        assert read_file(tmp_path / "missing.toml", problems) is None
        assert read_file(tmp_path, problems) is None
        (tmp_path / "file").touch()
        assert read_file(tmp_path / "file" / "server.toml", problems) is None
        assert [problem.expected for problem in problems] == [
            "no such file",
            "is a directory; expected a TOML file",
            "cannot be read: Not a directory",
        ]


class TestEnvironment:
    def read(self, **environ: str) -> tuple[list[Assignment], list[Problem]]:
        problems: list[Problem] = []
        return read_environment(environ, problems), problems

    def test_scalars_are_taken_as_text_and_lists_and_tables_as_json(self) -> None:
        read, problems = self.read(
            APPSERVER_WORKERS__COUNT="4",
            APPSERVER_APP__ROOT_PATH="8000",
            APPSERVER_ACCESS_LOG__EXCLUDE_PATHS='["/healthz"]',
            APPSERVER_LISTENERS='[{"bind": "127.0.0.1:1"}]',
            APPSERVER_HTTP='{"max_headers": 3, "parser": "h11"}',
            OTHER="x",
            APPSERVER="x",
        )
        assert problems == []
        assert sorted(flat(read), key=str) == [
            ("access_log", "exclude_paths", ["/healthz"]),
            ("app", "root_path", "8000"),
            ("http", "max_headers", 3),
            ("http", "parser", "h11"),
            ("listeners", None, [{"bind": "127.0.0.1:1"}]),
            ("workers", "count", "4"),
        ]

    def test_the_variable_of_a_key_comes_after_the_one_of_its_section(self) -> None:
        read, _ = self.read(APPSERVER_HTTP__PARSER="h11", APPSERVER_HTTP='{"parser": "auto"}')
        assert flat(read) == [("http", "parser", "auto"), ("http", "parser", "h11")]
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
            ("APPSERVER_SERVICE_HOST", "10.0.0.1"),
            ("APPSERVER_SERVICE_PORT", "80"),
            ("APPSERVER_SERVICE_PORT_HTTP", "80"),
            ("APPSERVER_BLUE_SERVICE_HOST", "10.0.0.1"),
            ("APPSERVER_PORT", "tcp://10.0.0.1:80"),
            ("APPSERVER_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("APPSERVER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ],
    )
    def test_what_kubernetes_tells_about_a_service_named_appserver_is_no_setting(
        self, variable: str, value: str
    ) -> None:
        assert self.read(**{variable: value}) == ([], [])


class TestConventional:
    def test_the_variables_that_other_servers_know_are_read(self) -> None:
        read = read_conventional({"WEB_CONCURRENCY": "3", "FORWARDED_ALLOW_IPS": "127.0.0.1, ::1"})
        assert flat(read) == [("workers", "count", "3"), ("proxy", "trusted", ["127.0.0.1", "::1"])]
        assert [assignment.origin.where for assignment in read] == ["WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"]

    def test_empty_they_count_as_not_set(self) -> None:
        assert read_conventional({"WEB_CONCURRENCY": "", "FORWARDED_ALLOW_IPS": ""}) == []


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
        problems: list[Problem] = []
        read = read_overrides(
            [Override("workers.count", "4", "--workers"), Override("workers", {"count": 5}, "--set")], problems
        )
        assert flat(read) == [("workers", "count", "4"), ("workers", "count", 5)]
        assert [assignment.origin for assignment in read] == [
            Origin("command line", "--workers"),
            Origin("command line", "--set"),
        ]
        assert problems == []

    def test_one_for_an_unknown_section_is_a_problem(self) -> None:
        problems: list[Problem] = []
        assert read_overrides([Override("worker.count", "4", "--set"), Override("http", 3, "--set")], problems) == []
        assert [str(problem) for problem in problems] == [
            "--set: worker: unknown section; did you mean [workers]?",
            "--set: http = 3: expected a table: [http]",
        ]
