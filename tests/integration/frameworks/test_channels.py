"""Django Channels on the real program."""

from __future__ import annotations

import json

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.server import Server
from tests.support.waiting import eventually

TARGET = "channels_site:application"


def test_a_group_hears_what_one_says(server: Server) -> None:
    url = server.address.websocket("/room")
    with connect(url) as one, connect(url, subprotocols=[Subprotocol("chat")]) as other:
        assert other.subprotocol == "chat"
        one.send("hello")
        assert one.recv(30) == other.recv(30) == "hello"
        other.send(b"only mine")
        assert other.recv(30) == b"only mine"


def test_a_consumer_learns_of_the_end(server: Server, client: httpx.Client) -> None:
    with connect(server.address.websocket("/room")) as session:
        session.close(4321)
    eventually(lambda: "left: 4321" in client.get("/journal").json(), "the consumer is told the code")


def test_a_consumer_denies_a_session(server: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(server.address.websocket("/room?denied"))
    assert caught.value.response.status_code == 403


def test_a_consumer_in_a_thread(server: Server) -> None:
    with connect(server.address.websocket("/calculator")) as session:
        session.send('{"a": 3, "b": 4}')
        assert json.loads(session.recv(30)) == {"sum": 7}
        session.send('{"a": -1, "b": 4}')
        assert json.loads(session.recv(30)) == {"sum": 3}
        with pytest.raises(ConnectionClosedError) as caught:
            session.recv(30)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4002
