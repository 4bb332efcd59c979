"""`wsgi.early_hints`, as gunicorn has it: announce by an interim response what a page will need (RFC 8297)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from appserver.asgi.wsgi.response import Response


def make_early_hints(response: Response) -> Callable[[Iterable[tuple[str, str]]], None]:
    """Called by an application with headers, of which Link is sent; without effect once the response has begun."""

    def send_early_hints(headers: Iterable[tuple[str, str]]) -> None:
        links = [value for name, value in headers if name.lower() == "link"]
        if links:
            response.hint(links)

    return send_early_hints
