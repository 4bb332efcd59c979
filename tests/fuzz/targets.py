"""What is fuzzed: each target takes any octets, and raises where the server would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from appserver.http.head import Limits
from tests.unit.http.corpus import CASES
from tests.unit.http.recorder import outcome

SMALL = Limits(max_target_size=40, max_header_size=200, max_headers=5)
EVERY_SPLIT = 80
"""Up to so many octets, every split into two is tried; beyond it, one that the octets themselves choose."""


@dataclass(frozen=True, slots=True)
class Target:
    """`examine` is called with octets that the fuzzer makes from `seeds`; it raises if the server would be wrong."""

    examine: Callable[[bytes], None]
    seeds: Iterable[bytes]


def examine_requests(data: bytes) -> None:
    """Both parsers give one answer to `data`, however it is split, under generous limits and under narrow ones."""
    for limits in (Limits(), SMALL):
        answer = outcome("httptools", [data], limits)
        cuts = range(len(data)) if len(data) <= EVERY_SPLIT else [sum(data[:64]) * 251 % len(data)]
        for backend in ("httptools", "h11"):
            for cut in cuts:
                found = outcome(backend, [data[:cut], data[cut:]], limits)
                assert found == answer, f"{backend}, split at {cut}: {found}, in one piece: {answer}"


TARGETS: Mapping[str, Target] = {
    "requests": Target(examine_requests, [case.octets for case in CASES]),
}
