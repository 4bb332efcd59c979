"""A request as the server understood it, whatever carried it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from appserver.http.fields import Fields


class Request:
    """The head of a request.

    `method` is case-sensitive and may be any token. `target` is as it was sent; `path` (percent-decoded), `raw_path`
    and `query_string` are its parts, without the authority of an absolute-form. `headers` have lower-case names, in the
    order in which they came; `host` among them is the authority that the request is for, and `authority` its value (None
    if there is none: RFC 9110 section 7.2). `http_version` is as ASGI has it: "1.0", "1.1", "2".

    `content_length` is what the client says of the body; None says nothing: there may be none, or one of unknown length.
    `expect_continue` says that the client holds its body back until it gets a 100 (RFC 9110 section 10.1.1); `upgrade`
    is the lower-cased value of the Upgrade field of a request without a body, and `may_upgrade` says whether it counts
    (RFC 9110 section 7.8); `accepts_trailers` allows trailer fields in the response (RFC 9110 section 10.1.4). `forwarded`
    are the fields that claim to come from a proxy, and those that are set apart (`fields.set_apart`); whether they are to be
    believed depends on who the peer is.
    """

    __slots__ = (
        "accepts_trailers",
        "authority",
        "content_length",
        "expect_continue",
        "forwarded",
        "headers",
        "http_version",
        "may_upgrade",
        "method",
        "path",
        "query_string",
        "raw_path",
        "target",
        "upgrade",
    )

    method: str
    target: bytes
    path: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: Fields
    authority: bytes | None
    content_length: int | None
    expect_continue: bool
    upgrade: bytes | None
    may_upgrade: bool
    accepts_trailers: bool
    forwarded: Fields

    def split_target(self) -> None:
        """Set `raw_path`, `path` and `query_string` from a target in origin-form (RFC 9112 section 3.2.1)."""
        raw_path, _, self.query_string = self.target.partition(b"?")
        self.raw_path = raw_path
        # The same as `unquote` of the text, which takes that apart first, and costs twice as much.
        self.path = unquote_to_bytes(raw_path).decode("utf-8", "replace") if b"%" in raw_path else raw_path.decode()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r} HTTP/{self.http_version}>"
