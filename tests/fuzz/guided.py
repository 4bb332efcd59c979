"""One target under the fuzzer, which keeps its process: `python -m tests.fuzz.guided TARGET CORPUS SECONDS`."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]

HANG = 10
"""Seconds after which one call counts as a hang."""
LONGEST = 4096
"""Octets that the fuzzer makes up at most."""

with atheris.instrument_imports(
    include=["appserver", "h11", "hpack", "websockets"]
):  # what is imported here tells the fuzzer where it goes
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name, corpus, seconds = sys.argv[1:]
    options = [f"-max_total_time={seconds}", f"-timeout={HANG}", f"-max_len={LONGEST}", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name].examine)
    atheris.Fuzz()
