"""The types of single values, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from appserver.settings import values
from appserver.settings.address import TCPAddress, UnixAddress


def expected_by(annotation: Any, value: object) -> str:
    """Return what the type says it expects instead of a value that it refuses."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(annotation).validate_python(value)
    [error] = caught.value.errors()
    assert error["type"] == "value_error"
    return str(error["ctx"]["error"])


@pytest.mark.parametrize(
    ("annotation", "written", "value"),
    [
        (values.Flag, True, True),
        (values.Flag, False, False),
        (values.Flag, "true", True),
        (values.Flag, "Yes", True),
        (values.Flag, "on", True),
        (values.Flag, "1", True),
        (values.Flag, "OFF", False),
        (values.Flag, "no", False),
        (values.Flag, "0", False),
        (values.Count, 0, 0),
        (values.Count, "2048", 2048),
        (values.Count, values.MAX_COUNT, values.MAX_COUNT),
        (values.PositiveCount, 1, 1),
        (values.WorkerCount, "auto", "auto"),
        (values.WorkerCount, 4, 4),
        (values.WorkerCount, "4", 4),
        (values.Share, 1, 1.0),
        (values.Share, "0.25", 0.25),
        (values.PositiveDuration, "1m", 60.0),
        (values.Buckets, [1, 2.5], (1.0, 2.5)),
        (values.Text, "ä b", "ä b"),
        (values.OptionalText, "", None),
        (values.OptionalText, None, None),
        (values.OptionalText, "www-data", "www-data"),
        (values.Secret, "", None),
        (values.Secret, "geheim", SecretStr("geheim")),
        (values.Secret, SecretStr("geheim"), SecretStr("geheim")),
        (values.ExistingPath, "a/b", Path("a/b")),
        (values.ExistingPath, Path("a"), Path("a")),
        (values.OptionalPath, "", None),
        (values.FileMode, "660", "0660"),
        (values.FileMode, "0660", "0660"),
        (values.FileMode, "0o660", "0660"),
        (values.OptionalFileMode, "", None),
        (values.OptionalFileMode, "027", "0027"),
        (values.ImportString, "a.b:c.d", "a.b:c.d"),
        (values.ImportString, "größe:app", "größe:app"),
        (values.RootPath, "", ""),
        (values.RootPath, "/api/v1", "/api/v1"),
        (values.RequestPath, "/", "/"),
        (values.FieldValue, "", ""),
        (values.FieldValue, "appserver/1 (x)", "appserver/1 (x)"),
        (values.OptionalFieldName, "", ""),
        (values.OptionalFieldName, "X-Request-ID", "x-request-id"),
        (values.HeaderField, "X-Frame-Options: DENY", ("X-Frame-Options", "DENY")),
        (values.HeaderField, "a:b:c", ("a", "b:c")),
        (values.HeaderField, "a:", ("a", "")),
        (values.Trusted, "*", "*"),
        (values.ServerName, "A.Example", "a.example"),
        (values.ServerName, "*.Example.org", "*.example.org"),
        (values.ServerName, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        (values.Trusted, "unix", "unix"),
        (values.Trusted, "10.0.0.0/8", "10.0.0.0/8"),
        (values.Trusted, "::1", "::1"),
        (values.Trusted, "2001:DB8::/32", "2001:db8::/32"),
        (values.Bind, "127.0.0.1:1", TCPAddress("127.0.0.1", 1)),
        (values.OptionalBind, "", None),
        (values.OptionalBind, None, None),
        (values.OptionalBind, "unix:/x", UnixAddress("/x")),
    ],
)
def test_what_may_be_written_becomes_a_value(annotation: Any, written: object, value: object) -> None:
    read = TypeAdapter(annotation).validate_python(written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("annotation", "written", "expected"),
    [
        (values.Flag, 1, "true or false"),
        (values.Flag, "maybe", "true or false"),
        (values.Flag, None, "true or false"),
        (values.Count, -1, "a whole number, 0 or more"),
        (values.Count, True, "a whole number, 0 or more"),
        (values.Count, 1.0, "a whole number, 0 or more"),
        (values.Count, "1.0", "a whole number, 0 or more"),
        (values.Count, "99999999999999", "a whole number, 0 or more"),
        (values.Count, 2**31, "a whole number, 0 or more"),
        (values.PositiveCount, 0, "a whole number, 1 or more"),
        (values.WorkerCount, 0, 'a whole number, from 1 to 1024, or "auto"'),
        (values.WorkerCount, "Auto", 'a whole number, from 1 to 1024, or "auto"'),
        (values.WorkerCount, 1025, 'a whole number, from 1 to 1024, or "auto"'),
        (values.Share, 1.5, "a number from 0 to 1"),
        (values.Share, -0.1, "a number from 0 to 1"),
        (values.Share, True, "a number from 0 to 1"),
        (values.Share, float("nan"), "a number from 0 to 1"),
        (values.Share, "half", "a number from 0 to 1"),
        (values.PositiveDuration, 0, "a duration above 0"),
        (values.Buckets, [1, 1], "each larger than the one before"),
        (values.Buckets, [], "each larger than the one before"),
        (values.Buckets, [0], "a number above 0"),
        (values.Buckets, [float("inf")], "a number above 0"),
        (values.Buckets, ["1"], "a number above 0"),
        (values.Buckets, [True], "a number above 0"),
        (values.Text, "", "not empty"),
        (values.Text, 3, "text"),
        (values.OptionalText, "a\nb", "without control characters"),
        (values.OptionalText, "a\udcff", "without control characters"),
        (values.Secret, 3, "text"),
        (values.ExistingPath, "", "not empty"),
        (values.ExistingPath, "a\0b", "without control characters"),
        (values.OptionalPath, 3, "text"),
        (values.FileMode, 660, "octal digits"),
        (values.FileMode, 0o660, "octal digits"),
        (values.FileMode, "680", "octal digits"),
        (values.FileMode, "66", "octal digits"),
        (values.FileMode, "", "octal digits"),
        (values.ImportString, "main", "module:attribute"),
        (values.ImportString, "main:", "module:attribute"),
        (values.ImportString, ":app", "module:attribute"),
        (values.ImportString, "a..b:app", "module:attribute"),
        (values.ImportString, "a/b.py:app", "module:attribute"),
        (values.ImportString, "a:b:c", "module:attribute"),
        (values.ImportString, "a:app()", "module:attribute"),
        (values.ImportString, 3, "module:attribute"),
        (values.RootPath, "api", "a slash in front"),
        (values.RootPath, "/api/", "a slash in front"),
        (values.RequestPath, "healthz", "/healthz"),
        (values.FieldValue, "a\r\nb: c", "no CR or LF"),
        (values.FieldValue, " a", "no CR or LF, no space at either end"),
        (values.FieldValue, "ä", "ASCII"),
        (values.FieldValue, 3, "ASCII"),
        (values.OptionalFieldName, "a b", "the name of a header"),
        (values.OptionalFieldName, 3, "the name of a header"),
        (values.OptionalFieldName, "Connection", "the server's own business"),
        (values.OptionalFieldName, "x_request_id", "without underscores, such as x-request-id"),
        (values.HeaderField, "no colon", '"Name: value"'),
        (values.HeaderField, ": value", '"Name: value"'),
        (values.HeaderField, "a b: c", '"Name: value"'),
        (values.HeaderField, ["a", "b"], '"Name: value"'),
        (values.HeaderField, "a: b\r\nc: d", "no CR or LF"),
        (values.HeaderField, "Content-Length: 3", "content-length is"),
        (values.HeaderField, "Server: x", "server is"),
        *(
            (values.ServerName, name, 'such as "example.org"')
            for name in (
                "*.*.example.net",
                "*",
                "a.*.b",
                "*a.b",
                "a b",
                "a..b",
                "a.",
                ".a",
                "",
                "bücher.example",
                "a:443",
            )
        ),
        (values.Trusted, "localhost", "an IP address"),
        (values.Trusted, "10.0.0.1/8", "has host bits set"),
        (values.Trusted, 3, "text"),
        (values.Bind, "x", "HOST:PORT"),
        (values.OptionalBind, "fd://3", "HOST:PORT, [v6]:PORT or unix:/path"),
    ],
)
def test_what_may_not_is_refused_with_what_is_expected(annotation: Any, written: object, expected: str) -> None:
    said = expected_by(annotation, written)
    assert said.startswith("expected ")
    assert expected in said


def test_a_secret_travels_but_does_not_show() -> None:
    secret = TypeAdapter(values.Secret)
    assert "geheim" not in repr(secret.validate_python("geheim"))
    assert secret.dump_json(SecretStr("geheim")) == b'"geheim"'
    assert secret.dump_json(None) == b"null"
