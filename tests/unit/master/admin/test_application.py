"""The admin application: what each path answers, to whom, and what it makes of mistakes."""

from __future__ import annotations

import pytest

from appserver.errors import Problem
from appserver.master.admin.credentials import denial
from appserver.master.reload_outcomes import ReloadOutcome
from tests.unit.master.admin.master import READY, FakeMaster, ask

CONTROLLING = ["/reload", "/scale", "/stop", "/reopen-logs", "/upgrade", "/stacks", "/activity"]


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


class TestWatching:
    def test_livez_says_that_the_master_runs_whatever_its_workers_do(self, master: FakeMaster) -> None:
        master.reason = "booting"
        assert ask(master, "GET", "/livez", denial=None).status == 200

    def test_readyz_says_whether_the_server_is_ready_and_why_not(self, master: FakeMaster) -> None:
        assert ask(master, "GET", "/readyz", denial=None).status == 200
        master.reason = "short of workers: 1 of 2 serve"
        answer = ask(master, "GET", "/readyz", denial=None)
        assert (answer.status, answer.text) == (503, "short of workers: 1 of 2 serve\n")

    def test_status_is_json_that_nobody_keeps(self, master: FakeMaster) -> None:
        answer = ask(master, "GET", "/status", denial=None)
        assert (answer.status, answer.data, answer.headers["cache-control"]) == (200, READY, "no-store")

    def test_metrics_are_in_the_format_that_is_asked_for(self, master: FakeMaster) -> None:
        answer = ask(master, "GET", "/metrics", denial=None, accept="application/openmetrics-text")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/openmetrics-text")
        assert ask(master, "GET", "/metrics", denial=None).text == "appserver_generation 2.0\n"

    def test_the_page_is_html_in_which_nothing_runs(self, master: FakeMaster) -> None:
        answer = ask(master, "GET", "/", denial=None)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "<title>appserver: ready</title>" in answer.text

    def test_the_page_can_be_switched_off(self, master: FakeMaster) -> None:
        master.page = False
        answer = ask(master, "GET", "/", denial=None)
        assert (answer.status, answer.text) == (404, "the status page is switched off (admin.page)\n")

    @pytest.mark.parametrize("path", CONTROLLING)
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_what_controls_is_refused_with_the_way_to_the_control_socket(
        self, master: FakeMaster, method: str, path: str
    ) -> None:
        answer = ask(master, method, path, denial=None)
        assert answer.status == 403
        assert "control socket (admin.control)" in answer.text
        assert master.asked == []


class TestControlling:
    def test_it_serves_what_is_for_watching_too(self, master: FakeMaster) -> None:
        assert [ask(master, "GET", path).status for path in ("/livez", "/readyz", "/status")] == [200, 200, 200]

    def test_a_reload_that_serves_is_answered_with_200(self, master: FakeMaster) -> None:
        answer = ask(master, "POST", "/reload")
        assert (answer.status, answer.data) == (
            200,
            {"result": "ok", "reason": "generation 2 serves", "generation": 2},
        )

    @pytest.mark.parametrize("result", ["refused", "rolled_back", "incomplete"])
    def test_any_other_verdict_is_a_conflict_with_its_reason(self, master: FakeMaster, result: str) -> None:
        master.outcome = ReloadOutcome(result, "no module named 'x'")
        answer = ask(master, "POST", "/reload")
        assert (answer.status, answer.data["result"], answer.data["reason"]) == (409, result, "no module named 'x'")

    @pytest.mark.parametrize(("body", "asked"), [(b'{"count": 3}', (3, 0)), (b'{"delta": -1}', (None, -1))])
    def test_scale_takes_a_count_or_a_delta(self, master: FakeMaster, body: bytes, asked: tuple[object, ...]) -> None:
        assert ask(master, "POST", "/scale", body).data == {"count": 3, "before": 2}
        assert master.asked == [("scale", *asked)]

    def test_what_the_master_refuses_is_a_conflict(self, master: FakeMaster) -> None:
        master.stopping = True
        answer = ask(master, "POST", "/scale", b'{"count": 3}')
        assert (answer.status, answer.text) == (409, "the server is stopping\n")

    @pytest.mark.parametrize(("body", "now"), [(b"", False), (b"{}", False), (b'{"now": true}', True)])
    def test_stop_is_accepted_and_graceful_unless_now(self, master: FakeMaster, body: bytes, now: bool) -> None:
        assert ask(master, "POST", "/stop", body).status == 202
        assert master.asked == [("stop", now)]

    def test_log_files_are_reopened(self, master: FakeMaster) -> None:
        assert ask(master, "POST", "/reopen-logs").status == 200
        assert master.asked == [("reopen-logs",)]

    def test_log_files_that_cannot_be_opened_are_a_conflict(self, master: FakeMaster) -> None:
        master.unusable = [Problem("", "logging.file", '"a.log"', "cannot be opened: Is a directory")]
        answer = ask(master, "POST", "/reopen-logs")
        assert (answer.status, answer.text) == (409, 'logging.file = "a.log": cannot be opened: Is a directory\n')

    def test_an_upgrade_says_what_became_of_it(self, master: FakeMaster) -> None:
        answer = ask(master, "POST", "/upgrade")
        assert (answer.status, answer.data) == (200, {"result": "ok", "reason": "the new program takes over"})
        assert master.asked == [("upgrade",)]

    def test_activity_is_the_state_with_what_is_going_on(self, master: FakeMaster) -> None:
        assert ask(master, "GET", "/activity").data == {**READY, "durations": [1, 2]}

    def test_stacks_are_those_of_one_worker_or_of_all(self, master: FakeMaster) -> None:
        assert ask(master, "GET", "/stacks").data["workers"][0]["threads"] == "here"
        assert ask(master, "GET", "/stacks?worker=1").status == 200
        assert ask(master, "GET", "/stacks?worker=9").status == 404
        assert master.asked == [("stacks", None), ("stacks", 1), ("stacks", 9)]


class TestMistakes:
    def test_an_unknown_path_is_answered_with_those_that_there_are(self, master: FakeMaster) -> None:
        answer = ask(master, "GET", "/healthz")
        assert answer.status == 404
        assert "GET /livez\n" in answer.text
        assert "POST /reload\n" in answer.text
        assert "/reload" not in ask(master, "GET", "/healthz", denial=None).text

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [("POST", "/status", "GET, HEAD"), ("GET", "/reload", "POST"), ("DELETE", "/stacks", "GET, HEAD")],
    )
    def test_another_method_is_refused_with_the_right_one(
        self, master: FakeMaster, method: str, path: str, allowed: str
    ) -> None:
        answer = ask(master, method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert master.asked == []

    def test_head_is_get(self, master: FakeMaster) -> None:
        assert ask(master, "HEAD", "/status").status == 200

    @pytest.mark.parametrize(
        ("target", "body", "expected"),
        [
            ("/scale", b"", 'expected {"count": N}'),
            ("/scale", b'{"count": 1, "delta": 1}', 'expected {"count": N}'),
            ("/scale", b'{"count": 0}', "expected at least 1 worker"),
            ("/scale", b'{"count": "2"}', "count: expected a whole number"),
            ("/scale", b'{"count": true}', "count: expected a whole number"),
            ("/scale", b'{"cuont": 2}', "cuont: unknown; expected count or delta"),
            ("/scale", b"[2]", "expected a JSON object"),
            ("/scale", b"count=2", "expected a JSON object"),
            ("/scale", b"\xff", "expected a JSON object"),
            ("/scale", b"[" * 50_000, "expected a JSON object"),
            ("/stop", b'{"now": 1}', "now: expected true or false"),
            ("/stop", b'{"graceful": false}', "graceful: unknown; expected now"),
            ("/reload", b'{"force": true}', "force: unknown; expected no members"),
        ],
    )
    def test_a_body_that_is_not_understood_changes_nothing(
        self, master: FakeMaster, target: str, body: bytes, expected: str
    ) -> None:
        answer = ask(master, "POST", target, body)
        assert answer.status == 400
        assert expected in answer.text
        assert master.asked == []

    @pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "٣", "9" * 5000])
    def test_what_is_no_number_of_a_worker_is_refused(self, master: FakeMaster, number: str) -> None:
        assert ask(master, "GET", f"/stacks?worker={number}").status == 400

    def test_who_is_denied_gets_nothing_but_the_reason(self, master: FakeMaster) -> None:
        answer = ask(master, "POST", "/stop", denial=lambda client: f"not you, {client[0]}")
        assert (answer.status, answer.text, master.asked) == (403, "not you, 0\n", [])
        assert ask(master, "GET", "/status", denial=lambda _: "no").status == 403


def test_root_and_the_user_of_the_server_may_control_it_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert denial(("0", 1)) is None
    assert denial(("1000", 1)) is None
    reason = denial(("1001", 1))
    assert reason is not None
    assert "uid 1001" in reason


@pytest.mark.parametrize("target", ["/stop", "/reload"])
def test_a_command_whose_connection_ends_within_it_is_not_obeyed(master: FakeMaster, target: str) -> None:
    answer = ask(master, "POST", target, breaks_off=True)
    assert answer.status == 400
    assert master.asked == []
