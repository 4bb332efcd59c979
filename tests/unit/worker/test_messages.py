from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from appserver.supervision.events import Forked, ForkRefused
from appserver.worker.messages import (
    MAX_SUMMARY_LENGTH,
    MAX_TRACEBACK_LENGTH,
    BootFailed,
    Channel,
    Drain,
    Fork,
    Imported,
    ListenerGrant,
    Message,
    PreloadGivenUp,
    Ready,
    ReopenLogs,
    ZygoteBoot,
    shorten,
)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    left, right = Channel.pair()
    yield left, right
    left.close()
    right.close()


MESSAGES: list[Message] = [
    Fork(7, 2),
    Imported(preloaded=True),
    PreloadGivenUp(),
    BootFailed("import", "no module named 'x'", "Traceback …\n", 4),
    Forked(7, 4242),
    ForkRefused(7, "Resource temporarily unavailable"),
    Ready(),
    Drain("reload", 5.0),
    ReopenLogs(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_sent_arrives(ends: tuple[Channel, Channel], message: Message) -> None:
    ends[0].send(message)
    assert ends[1].receive() == (message, [])


def test_messages_keep_their_order_and_their_bounds(ends: tuple[Channel, Channel]) -> None:
    for message in MESSAGES:
        ends[0].send(message)
    received = [ends[1].receive() for _ in MESSAGES]
    assert received == [(message, []) for message in MESSAGES]


def test_a_descriptor_arrives_as_one_that_is_closed_on_exec(ends: tuple[Channel, Channel]) -> None:
    reader, writer = os.pipe()
    ends[0].send(Fork(1, 1), [writer])
    os.close(writer)
    received = ends[1].receive()
    assert received is not None
    [descriptor] = received[1]
    assert not os.get_inheritable(descriptor)
    os.write(descriptor, b"through")
    os.close(descriptor)
    assert os.read(reader, 16) == b"through"
    os.close(reader)


def test_the_end_of_one_side_is_the_end_of_file_of_the_other(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(Ready())
    ends[0].close()
    assert ends[1].receive() == (Ready(), [])
    assert ends[1].receive() is None


def test_an_end_of_file_with_unread_messages_on_the_other_side_is_an_end_of_file(ends: tuple[Channel, Channel]) -> None:
    ends[1].send(Ready())
    ends[0].close()  # with an unread message: the kernel makes this a reset
    assert ends[1].receive() is None


def test_a_master_that_is_gone_needs_to_be_told_nothing(ends: tuple[Channel, Channel]) -> None:
    ends[0].tell(Forked(7, 4242))
    assert ends[1].receive() == (Forked(7, 4242), [])
    ends[1].close()
    ends[0].tell(Forked(8, 4243))
    assert ends[0].receive() is None


def test_a_nonblocking_end_without_a_message_raises(ends: tuple[Channel, Channel]) -> None:
    ends[1].set_blocking(False)
    with pytest.raises(BlockingIOError):
        ends[1].receive()


def test_a_channel_can_be_made_from_an_inherited_descriptor() -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = Channel(left), Channel.from_fd(right.detach())
    ours.send(Ready())
    assert theirs.receive() == (Ready(), [])
    ours.close()
    theirs.close()


@pytest.mark.parametrize("character", ["x", "\0", "ü", "\U0001f600", "\udc80"])
def test_the_longest_failure_fits_into_a_message(ends: tuple[Channel, Channel], character: str) -> None:
    trace = shorten(character * 1_000_000, MAX_TRACEBACK_LENGTH)
    ends[0].send(BootFailed("startup", shorten(character * 1_000_000, MAX_SUMMARY_LENGTH), trace, 5))
    received = ends[1].receive()
    assert received is not None
    assert isinstance(received[0], BootFailed)
    assert len(received[0].traceback) == len(trace)


def test_shortening_keeps_both_ends_and_says_what_it_left_out() -> None:
    text = "start" + "x" * 100_000 + "end"
    short = shorten(text, 1000)
    assert short.startswith("start")
    assert short.endswith("end")
    assert "characters left out" in short
    assert len(short) < 1100
    assert shorten("short", 5) == "short"


def test_a_boot_survives_its_way_through_a_file() -> None:
    boot = ZygoteBoot(1, 3, '{"app": {}}', 5, (ListenerGrant(6, "127.0.0.1:80"), ListenerGrant(7, "unix:/run/x")))
    assert ZygoteBoot.load(boot.dump()) == boot


def test_what_another_version_says_is_understood_as_far_as_it_is_known() -> None:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    with theirs:
        socket.send_fds(theirs, [b'{"type": "Invented", "number": 1}'], [writer])
        theirs.send(b'{"type": "Forked", "worker": 7, "pid": 4242, "invented": true}')
        os.close(writer)
        channel = Channel(ours)
        assert channel.receive() == (Forked(7, 4242), [])
        assert os.read(reader, 1) == b"", "the descriptor that came with the unknown message is closed"
        channel.close()
    os.close(reader)
