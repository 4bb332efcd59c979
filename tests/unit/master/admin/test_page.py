"""The status page: what it shows, and that it shows what others have written as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from appserver.master.admin.page import render

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def moment(**ago: int) -> str:
    return (NOW - timedelta(**ago)).isoformat()


def worker(**more: Any) -> dict[str, Any]:
    return {
        "id": 1, "pid": 4711, "generation": 2, "state": "ready", "started_at": moment(minutes=5), "requests": 12_345_678,
        "in_progress": 3, "connections": 7, "websockets": 2, "http2_connections": 0, "http2_streams": 0,
        "rss_bytes": 48 * 1024 * 1024, "loop_lag_seconds": 0.0004, "heartbeat_age_seconds": 0.2, **more,
    }  # fmt: skip


def status(*workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "1.0", "pid": 1, "state": "serving", "generation": 2, "started_at": moment(hours=2, minutes=3),
        "listeners": ["http://127.0.0.1:8000", "unix:/run/shop.sock"], "last_reload": None, "workers": list(workers),
        "deadly_requests": [], **more,
    }  # fmt: skip


class Page(HTMLParser):
    """A page as a browser takes it: its texts, the names of its elements, and its links."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[str] = []
        self.links: list[str | None] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_it_shows_the_server_and_each_worker() -> None:
    page = Page(render(status(worker(), worker(id=2, pid=4712, http2_connections=1)), None, NOW))
    assert {"ready", "serving, generation 2, up 2h3m", "none so far"} <= set(page.texts)
    assert "http://127.0.0.1:8000, unix:/run/shop.sock" in page.texts
    assert {"4711", "4712", "12.3M", "48MiB", "0.4ms", "5m", "1/0"} <= set(page.texts)
    assert page.links == ["status", "metrics", "readyz", "livez"]


def test_it_says_why_a_server_is_not_ready_and_which_worker_is_blocked() -> None:
    found = render(status(worker(heartbeat_age_seconds=30.0)), "short of workers: 1 of 2 serve", NOW)
    assert "not ready: short of workers: 1 of 2 serve" in Page(found).texts
    assert b'<tr class="blocked">' in found


def test_a_server_without_workers_has_a_page_as_well() -> None:
    assert "td" not in Page(render(status(), "booting: 0 of 2 serve", NOW)).elements


def test_what_others_have_written_is_text() -> None:
    evil = "</dd><script>alert(1)</script>&\udc80"
    reload = {"result": "rolled_back", "reason": evil, "at": moment(seconds=10)}
    deadly = {"method": "GET", "path": evil, "deaths": 3, "alone": 1, "last_at": moment(seconds=3)}
    page = Page(render(status(worker(), last_reload=reload, deadly_requests=[deadly]), evil, NOW))
    assert "script" not in page.elements
    shown = evil.replace("\udc80", "?")
    assert f"10s ago: rolled_back, {shown}" in page.texts
    assert f"GET {shown}: 3 workers have died while they served it (1 nothing else), the last one 3s ago" in page.texts
