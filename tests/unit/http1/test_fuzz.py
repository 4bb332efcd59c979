"""Whatever arrives: no crash, no hang, and one answer from both backends at every segmentation."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appserver.http.limits import Limits
from tests.unit.http1.corpus import CASES, CHUNKED, GET, NEXT, POST
from tests.unit.http1.recorder import outcome

SMALL = Limits(max_target_size=40, max_header_size=200, max_headers=5)

WORDS = (
    *(
        GET,
        POST,
        NEXT,
        CHUNKED,
        b"GET /",
        b"HTTP/1.1",
        b"HTTP/1.0\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
    ),
    *(
        b"Host: y\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"A: b\r\n",
    ),
    *(b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n"),
    *(b"hello", b"5\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"0\r\n\r\n"),
)
SHORT_CASES = [case.octets for case in CASES if len(case.octets) < 300]
PIECES = st.one_of(st.sampled_from(WORDS), st.sampled_from(SHORT_CASES), st.binary(max_size=6))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Octets that are nearly requests, and a segmentation of them."""
    data = b"".join(draw(st.lists(PIECES, min_size=1, max_size=8)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(st.one_of(st.just(b""), PIECES)) + data[start + draw(st.integers(0, 3)) :]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return data, [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@settings(max_examples=400)
@given(conversations(), st.sampled_from([Limits(), SMALL]))
def test_one_answer_from_both_backends_at_every_segmentation(
    conversation: tuple[bytes, list[bytes]], limits: Limits
) -> None:
    data, segments = conversation
    answer = outcome("httptools", [data], limits)
    assert outcome("httptools", segments, limits) == answer
    assert outcome("h11", [data], limits) == answer
    assert outcome("h11", segments, limits) == answer


@settings(max_examples=200)
@given(st.binary(max_size=400), st.binary(max_size=400))
def test_one_answer_to_noise(first: bytes, second: bytes) -> None:
    answer = outcome("httptools", [first + second])
    for backend in ("httptools", "h11"):
        assert outcome(backend, [first, second]) == answer
