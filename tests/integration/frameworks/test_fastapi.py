"""FastAPI on the real program."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.server import Server
from tests.support.waiting import eventually

TARGET = "fastapi_site:app"


def journal(client: httpx.Client) -> list[str]:
    """What the application noted so far."""
    entries: list[str] = client.get("/journal").json()
    return entries


def test_json_goes_in_and_out(client: httpx.Client) -> None:
    item = {"name": "Käse", "price": 2.5, "tags": ["a", "b"]}
    response = client.post("/items", json=item)
    assert (response.status_code, response.json()) == (201, item)


def test_parameters_are_converted(client: httpx.Client) -> None:
    assert client.get("/items/7?verbose=yes").json() == {"number": 7, "verbose": True}


def test_a_validation_error_says_what_is_wrong(client: httpx.Client) -> None:
    response = client.post("/items", json={"name": "Käse", "price": -1})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "price"]
    assert client.post("/items", content=b"{no json").status_code == 422


def test_an_http_exception_is_a_response(client: httpx.Client) -> None:
    response = client.get("/items/404")
    assert (response.status_code, response.json()) == (404, {"detail": "no such item"})


def test_the_documentation_is_served(client: httpx.Client) -> None:
    assert "swagger" in client.get("/docs").text
    assert "/items/{number}" in client.get("/openapi.json").json()["paths"]


def steps_of_sessions(client: httpx.Client) -> list[str]:
    """What it noted of its sessions: what other tests have left to run may end at any moment."""
    return [entry for entry in journal(client) if entry.startswith("session ")]


def test_a_dependency_that_yields_is_closed_after_use(client: httpx.Client) -> None:
    before = len(steps_of_sessions(client))
    assert client.get("/session").json() == "session"
    steps = ["session opened", "session used", "session closed"]
    eventually(lambda: steps_of_sessions(client)[before:] == steps, "the dependency is closed")


def test_a_dependency_that_yields_sees_the_exception(client: httpx.Client) -> None:
    before = len(steps_of_sessions(client))
    assert client.get("/session?fail=yes").status_code == 500
    steps = ["session opened", "session used", "session rolled back", "session closed"]
    eventually(lambda: steps_of_sessions(client)[before:] == steps, "the dependency is closed")


def test_an_uploaded_file_of_several_mebibytes_arrives_whole(client: httpx.Client) -> None:
    content = bytes(range(256)) * 4096 * 5
    response = client.post("/upload", files={"file": ("größe.bin", content)}, data={"note": "five MiB"})
    assert response.json() == {
        "name": "größe.bin",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": "five MiB",
    }


def test_plain_functions_run_in_threads_beside_each_other(server: Server) -> None:
    def get(_: int) -> httpx.Response:
        return httpx.get(f"http://{server.address}/rendezvous", trust_env=False, timeout=30)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(get, range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() != second.json()


def test_server_sent_events_arrive_as_they_happen(client: httpx.Client) -> None:
    with client.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in response.iter_lines() if line)
        # Each event is sent only when the one before has arrived: a server that collects them would wait for ever.
        assert next(lines) == "data: open"
        for tick in ("one", "two", "three"):
            client.post(f"/events/{tick}")
            assert next(lines) == f"data: {tick}"
        client.post("/events/end")
        assert list(lines) == []


@pytest.mark.parametrize("name", ["report", "e-mail"])
def test_a_background_task_runs_after_the_response(client: httpx.Client, name: str) -> None:
    assert client.post(f"/background/{name}").status_code == 202
    eventually(lambda: f"{name} done in a thread" in journal(client), "the task has run")


def test_what_one_says_all_hear(server: Server, client: httpx.Client) -> None:
    url = server.address.websocket("/rooms/7")
    with connect(url) as one, connect(url) as other:
        one.send("first")
        other_heard = [other.recv(30)]
        other.send("second")
        other_heard.append(other.recv(30))
        assert other_heard == [one.recv(30), one.recv(30)] == ["7 session: first", "7 session: second"]


def test_a_session_with_a_wrong_parameter_is_denied(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(server.address.websocket("/rooms/seven"))
    assert caught.value.response.status_code == 403
