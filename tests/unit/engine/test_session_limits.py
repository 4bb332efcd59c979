"""What a WebSocket session may take: memory, time, patience; and that neither side can make the other one stop."""

from __future__ import annotations

import asyncio
import tracemalloc
import zlib
from collections import Counter
from typing import Any

import pytest

from appserver.engine.link import Link
from appserver.engine.pipe import SocketPipe
from appserver.engine.session import Session
from appserver.engine.session_client import EARLY_LIMIT
from appserver.errors import ClientDisconnected
from appserver.settings import HTTPSettings, WebSocketSettings
from appserver.websocket.protocol import FRAMES_PER_TURN
from tests.unit.engine.test_session import Talk, application, ends, got, handshake, head_of, make, open_session
from tests.unit.engine.world import LOOPS, Client, World, rejected, run, settle
from tests.unit.websocket.frames import BINARY, CONTINUATION, PING, PONG, TEXT, Sent, close, frame, text


def session_of(client: Client) -> Session:
    assert isinstance(client.transport.protocol, SocketPipe)
    assert isinstance(client.transport.protocol._user, Session)
    return client.transport.protocol._user


def reads(client: Client) -> bool:
    """Whether the server reads what this client sends."""
    return client.transport.reading


class Gate:
    """An application that accepts, and takes messages when the test lets it."""

    def __init__(self) -> None:
        self.taken: list[str | bytes] = []
        self.wanted = asyncio.Semaphore(0)

    async def __call__(self, talk: Talk) -> None:
        await talk.accept()
        while True:
            await self.wanted.acquire()
            if (message := await talk.receive())["type"] == "websocket.disconnect":
                return
            self.taken.append(message.get("text", message.get("bytes", "")))

    async def take(self, count: int) -> None:
        for _ in range(count):
            self.wanted.release()
        await settle()

    async def end(self, client: Client) -> None:
        await client.vanish()
        await self.take(100)


class TestPings:
    def test_one_is_sent_every_interval_and_anything_is_an_answer(self) -> None:
        async def scenario() -> None:
            world = make(None, ping_interval=20, ping_timeout=10)
            client = await open_session(world)
            await world.pass_time(19)
            assert got(client) == []
            await world.pass_time(2)
            assert got(client) == [Sent(PING, b"")]
            await client.send(frame(PONG))
            await world.pass_time(20)
            assert got(client) == [Sent(PING, b"")]
            await client.send(frame(BINARY, bytes(1000))[:500])  # busy with a large message
            await world.pass_time(15)
            assert world.slot.sessions == 1
            await client.vanish()

        run(scenario)

    def test_a_client_that_is_silent_after_one_is_gone(self) -> None:
        async def scenario() -> None:
            world = make(None, ping_interval=20, ping_timeout=10)
            client = await open_session(world)
            await client.send(text("x"))
            await world.pass_time(32)
            assert client.ended
            ((code, reason),) = ends(world)
            assert code == 1006
            assert "ping" in reason
            assert rejected(world) == {"ping_timeout": 1}
            assert world.access.sessions[0].outcome == "timed_out"
            (record,) = world.log.of("session ended")
            assert (record["reason"], record["client"], record["path"]) == ("ping_timeout", "192.0.2.1", "/ws")
            await client.vanish()

        run(scenario)

    def test_one_may_be_sent_more_often_than_it_may_take(self) -> None:
        async def scenario() -> None:
            world = make(None, ping_interval=2, ping_timeout=10)
            client = await open_session(world)
            await world.pass_time(9)
            assert world.slot.sessions == 1
            await world.pass_time(6)
            assert world.slot.sessions == 0
            await client.vanish()

        run(scenario)

    @pytest.mark.parametrize("setting", ["ping_interval", "ping_timeout"])
    def test_it_can_be_switched_off(self, setting: str) -> None:
        async def scenario() -> None:
            world = make(None, **{setting: 0})
            client = await open_session(world)
            await world.pass_time(500)
            assert world.slot.sessions == 1
            assert bool(got(client)) is (setting == "ping_timeout")
            await client.vanish()

        run(scenario)

    def test_the_clients_are_answered_while_the_application_is_busy(self) -> None:
        async def scenario() -> None:
            gate = Gate()
            world = make(gate)
            client = await open_session(world)
            await client.send(text("waits"), frame(PING, b"there?"))
            assert got(client) == [Sent(PONG, b"there?")]
            await gate.end(client)

        run(scenario)

    def test_a_client_that_is_not_read_is_not_taken_for_gone(self) -> None:
        async def scenario() -> None:
            gate = Gate()
            world = make(gate, max_queue=1, ping_interval=5, ping_timeout=5)
            client = await open_session(world)
            await client.send(text("waits"))
            assert not reads(client)
            await world.pass_time(60)
            assert world.slot.sessions == 1
            await gate.end(client)

        run(scenario)

    def test_a_flood_of_them_is_read_only_as_fast_as_the_answers_are(self) -> None:
        async def scenario() -> None:
            world = make(None)
            client = await open_session(world)
            client.transport.congest_at = 1
            await client.send(frame(PING, b"x") * 10)
            assert len(got(client)) == 10
            assert not reads(client)
            client.transport.relieve()
            assert reads(client)
            await client.vanish()

        run(scenario)

    def test_a_flood_of_them_does_not_keep_others_from_their_turn(self) -> None:
        async def scenario() -> None:
            world = make(None)
            client = await open_session(world)
            session_of(client).data_received(frame(PING, b"x") * (3 * FRAMES_PER_TURN) + text("last"))
            assert len(got(client)) == FRAMES_PER_TURN
            assert not reads(client)
            await settle()
            assert len(got(client)) == 2 * FRAMES_PER_TURN + 1
            assert reads(client)
            await client.vanish()

        run(scenario)


class TestMessageTimeout:
    @pytest.mark.parametrize("kind", ["frames", "octets"])
    def test_a_message_that_never_ends_ends_the_session(self, kind: str) -> None:
        async def scenario() -> None:
            world = make(None, message_timeout=60)
            client = await open_session(world)
            await client.send(frame(TEXT, b"x", fin=False) if kind == "frames" else frame(TEXT, bytes(1000))[:100])
            for _ in range(30):
                if client.ended:
                    break
                await world.pass_time(5)
                if not client.ended:
                    await client.send(frame(CONTINUATION, b"x", fin=False) if kind == "frames" else b"x")
            assert client.ended
            assert [code for code, _ in ends(world)] == [1008]
            assert rejected(world) == {"message_timeout": 1}
            await client.vanish()

        run(scenario)

    def test_messages_that_take_less_may_follow_each_other_for_ever(self) -> None:
        async def scenario() -> None:
            world = make(None, message_timeout=60)
            client = await open_session(world)
            await client.send(frame(TEXT, b"x", fin=False))
            for _ in range(20):
                await world.pass_time(15)
                await client.send(frame(CONTINUATION, b"x") + frame(TEXT, b"x", fin=False))
            assert world.slot.sessions == 1
            await client.vanish()

        run(scenario)


class TestReceiving:
    def test_reading_pauses_when_enough_messages_wait(self) -> None:
        async def scenario() -> None:
            gate = Gate()
            client = await open_session(make(gate, max_queue=3))
            await client.send(b"".join(text(str(number)) for number in range(10)))
            assert not reads(client)
            await gate.take(9)
            assert gate.taken == [str(number) for number in range(9)]
            await gate.take(1)
            assert reads(client)
            await gate.end(client)

        run(scenario)

    def test_it_pauses_earlier_for_large_messages(self) -> None:
        async def scenario() -> None:
            gate = Gate()
            client = await open_session(make(gate))
            await client.send(frame(BINARY, bytes(60_000)), frame(BINARY, bytes(60_000)))
            assert not reads(client)
            await gate.take(2)
            assert not reads(client)  # until the application asks for another one
            await gate.take(1)
            assert reads(client)
            await gate.end(client)

        run(scenario)

    def test_what_comes_before_the_acceptance_is_bounded(self) -> None:
        async def scenario() -> None:
            accept = asyncio.Event()

            async def handler(talk: Talk) -> None:
                await accept.wait()
                await talk.accept()
                assert len(await talk.message()) == EARLY_LIMIT

            world = make(handler)
            client = world.connect()
            octets = frame(BINARY, bytes(EARLY_LIMIT))
            await client.send(handshake() + octets[:10], octets[10:])
            assert not reads(client)
            accept.set()
            await settle()
            await client.vanish()
            assert not world.log.records
            assert world.access.sessions[0].messages_received == 1

        run(scenario)

    def test_several_may_wait_for_messages(self) -> None:
        async def scenario() -> None:
            taken: list[str | bytes] = []

            async def handler(talk: Talk) -> None:
                async def take() -> None:
                    taken.append(await talk.message())

                await talk.accept()
                cancelled = asyncio.ensure_future(take())
                others = [asyncio.ensure_future(take()) for _ in range(2)]
                await asyncio.sleep(0)
                cancelled.cancel()
                await asyncio.gather(*others)
                assert (await talk.receive())["type"] == "websocket.disconnect"

            world = make(handler)
            client = await open_session(world)
            await client.send(text("a"), text("b"), close())
            assert sorted(map(str, taken)) == ["a", "b"]
            assert not world.log.records
            await client.vanish()

        run(scenario)

    def test_what_nobody_wants_any_more_does_not_hold_up_the_close(self) -> None:
        async def scenario() -> None:
            async def handler(talk: Talk) -> None:
                await talk.accept()
                await talk.close()
                await talk.receive()

            world = make(handler, max_queue=2)
            client = world.connect()
            await client.send(handshake())
            session_of(client).data_received(b"".join(text(str(number)) for number in range(50)) + close())
            await settle(200)
            assert client.ended
            assert world.access.sessions[0].outcome is None
            await client.vanish()

        run(scenario)


class TestSending:
    def test_a_session_that_is_given_up_is_over_at_once(self) -> None:
        async def scenario() -> None:
            async def handler(talk: Talk) -> None:
                await talk.accept()
                await talk.message()
                session_of(client)._pipe.abort()
                with pytest.raises(ClientDisconnected):
                    await talk.say("x")

            world = make(handler)
            client = await open_session(world)
            await client.send(text("go"))
            assert not world.log.records
            assert world.access.sessions[0].outcome == "aborted"

        run(scenario)

    def test_send_waits_while_the_client_does_not_read(self) -> None:
        async def scenario() -> None:
            sent: list[int] = []

            async def handler(talk: Talk) -> None:
                await talk.accept()
                for number in range(4):
                    await talk.say("x" * 100)
                    sent.append(number)

            world = make(handler)
            client = world.connect()
            client.transport.congest_at = 3
            await client.send(handshake())
            assert sent == [0]
            client.transport.relieve()
            await settle()
            assert sent == [0, 1, 2, 3]
            await client.vanish()

        run(scenario)

    def test_a_client_that_never_reads_is_dropped_and_send_raises(self) -> None:
        async def scenario() -> None:
            failures: list[OSError] = []

            async def handler(talk: Talk) -> None:
                await talk.accept()
                try:
                    while True:
                        await talk.say(b"x" * 70_000)
                except OSError as error:
                    failures.append(error)

            limits = WebSocketSettings(ping_interval=0)
            world = World(application(handler), HTTPSettings(write_timeout=30), limits, state={"ends": []})
            client = world.connect()
            client.transport.congest_at = 2
            await client.send(handshake())
            await world.pass_time(32)
            assert client.transport.aborted
            assert isinstance(failures[0], ClientDisconnected)
            assert rejected(world) == {"write_timeout": 1}
            assert world.slot.sessions == 0

        run(scenario)

    def test_the_handshake_keeps_to_the_time_limit_of_requests(self) -> None:
        async def scenario() -> None:
            async def handler(talk: Talk) -> None:
                await asyncio.Event().wait()

            world = World(application(handler), HTTPSettings(request_timeout=5))
            client = world.connect()
            await client.send(handshake())
            await world.pass_time(7)
            assert client.response().status == 504
            assert "handler" in world.log.of("request timed out")[0]["stack"]
            await client.vanish()
            assert world.access.lines[0][4] == "timed_out"

        run(scenario)

    def test_a_session_may_take_longer_than_a_request(self) -> None:
        async def scenario() -> None:
            world = World(make(None).service.application, HTTPSettings(request_timeout=5), state={"ends": []})
            client = await open_session(world)
            for _ in range(10):
                await world.pass_time(5)
                await client.send(frame(PONG))
            assert world.slot.sessions == 1
            await client.vanish()

        run(scenario)


def test_octets_and_messages_are_counted_while_a_session_goes_on() -> None:
    async def scenario() -> None:
        world = make(None)
        client = await open_session(world)
        ints: Any = world.slot._ints
        await client.send(text("one") + text("two"))
        assert ints[world.slot._messages] == ints[world.slot._messages + 1] == 2
        before = ints[world.slot._received]
        await world.pass_time(21)
        assert ints[world.slot._received] == before + len(text("one") + text("two"))
        await client.vanish()

    run(scenario)


def test_a_session_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        world = make(None)
        client = world.connect()
        first: Link = client.connection
        await client.send(handshake())
        head_of(client)
        assert first not in world.service.registry.connections
        assert (
            len(world.service.registry.connections)
            == len(world.service.registry.sessions)
            == world.slot.connections
            == 1
        )
        await client.vanish()
        assert not world.service.registry.connections
        assert not world.service.registry.sessions
        assert world.slot.connections == world.slot.sessions == world.slot.in_progress == 0

    run(scenario)


class TestTurns:
    @pytest.mark.parametrize("loop", LOOPS)
    def test_an_application_that_never_waits_takes_one_queue_of_messages_a_turn(self, loop: str) -> None:
        turn = 0
        taken: list[int] = []  # the turn in which each message was received

        async def handler(talk: Talk) -> None:
            await talk.accept()
            while (await talk.receive())["type"] == "websocket.receive":
                taken.append(turn)

        async def others() -> None:
            nonlocal turn
            while True:
                await asyncio.sleep(0)
                turn += 1

        async def scenario() -> None:
            client = await open_session(make(handler, max_queue=8))
            task = asyncio.create_task(others())
            await client.send(text("x") * 100)
            await settle(100)
            task.cancel()
            assert len(taken) == 100
            assert max(Counter(taken).values()) == 8
            assert reads(client)
            await client.vanish()

        run(scenario, loop)


def compressed(payload: bytes) -> bytes:
    """The first part of a compressed message."""
    compressor = zlib.compressobj(level=0, wbits=-12)
    return compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)


class TestWhatIsLeftBehind:
    @pytest.mark.parametrize(
        "octets",
        [
            frame(BINARY, bytes(1 << 20), fin=False),
            frame(TEXT, b"x" * (1 << 20), fin=False),
            frame(BINARY, compressed(bytes(1 << 20)), fin=False, rsv=4),
            frame(BINARY, compressed(bytes(1 << 20)), rsv=4)[:-10],
            text("x") * 150_000,
        ],
        ids=["octets", "text", "a compressed message", "a compressed frame", "more messages than may wait"],
    )
    def test_a_client_that_has_gone_takes_what_was_not_complete_along(self, octets: bytes) -> None:
        gate = Gate()

        async def scenario() -> None:
            world = make(gate)
            client = await open_session(world, "Sec-WebSocket-Extensions: permessage-deflate")
            tracemalloc.start()
            try:
                await client.send(text("complete"), bytes(bytearray(octets)))  # its own, and nobody else holds them
                assert tracemalloc.get_traced_memory()[0] > 700_000
                await client.vanish()
                assert tracemalloc.get_traced_memory()[0] < 300_000
            finally:
                tracemalloc.stop()
            await gate.take(100)
            assert gate.taken[0] == "complete"

        run(scenario)
