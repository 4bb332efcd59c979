"""How connections spread over workers: `python -m tests.benchmarks.spread`.

Two workers, and 32 keep-alive connections: opened at once, or one after the other. Each sends requests for a while; the
figure is the share of all requests that the busiest worker has answered (50 % is ideal), the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.benchmarks.measurement import free_port
from tests.benchmarks.servers import PEERS, ROOT, install
from tests.benchmarks.trees import running, wait_for_answer
from tests.support import toml
from tests.support.address import Address

APPLICATION = "tests.benchmarks.applications:identify"
CONNECTIONS = 32
REQUESTS = 50
"""That each connection sends."""
BETWEEN_ARRIVALS = 0.02
"""Seconds between two connections that come one after the other."""
LAYOUT = "{:<12}{:>16}{:>20}"

OPTIONS = {
    "uvicorn": ["--workers", "2", "--no-access-log"],
    "granian": ["--interface", "asgi", "--workers", "2"],
    "gunicorn": ["-k", "asgi", "-w", "2"],
    "hypercorn": ["-w", "2"],
    "h2corn": ["-w", "2"],
}


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.spread", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(OPTIONS), metavar="NAME,...")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", metavar="DIR")
    options = parser.parse_args()
    print(LAYOUT.format("server", "at once, %", "one by one, %"))
    for name in ("appserver", *filter(None, options.peers.split(","))):
        shares = [_measure(name, options.cache) for _ in range(options.rounds)]
        medians = (statistics.median(column) * 100 for column in zip(*shares, strict=True))
        print(LAYOUT.format(name, *(f"{share:.0f}" for share in medians)), flush=True)
    return 0


def _measure(name: str, cache: Path) -> tuple[float, float]:
    """The share of the busiest worker with connections that come at once, and with those that come one by one."""
    with tempfile.TemporaryDirectory() as directory:
        address = Address("127.0.0.1", free_port())
        with running(_command(name, cache, address, Path(directory))):
            wait_for_answer(address, name)
            return asyncio.run(_busiest(address, 0)), asyncio.run(_busiest(address, BETWEEN_ARRIVALS))


def _command(name: str, cache: Path, address: Address, directory: Path) -> list[str]:
    if name == "appserver":
        settings = directory / "server.toml"
        content = {
            "app": {"target": APPLICATION},
            "listeners": [{"bind": str(address)}],
            "workers": {"count": 2},
            "access_log": {"enabled": False},
        }
        settings.write_text(toml.dumps(content))
        return [sys.executable, "-m", "appserver", "--config", str(settings)]
    peer = next(peer for peer in PEERS if peer.name == name)
    bind = ["--port", str(address.port)] if name in ("uvicorn", "granian") else ["-b", str(address)]
    return [install(peer, cache), "-m", name, *bind, *OPTIONS[name], APPLICATION]


async def _busiest(address: Address, interval: float) -> float:
    """The share of the busiest worker, after the second worker has come up."""
    await asyncio.sleep(1.0)
    answers: Counter[bytes] = Counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(_converse(address, answers))
            if interval:
                await asyncio.sleep(interval)
    return max(answers.values()) / answers.total()


async def _converse(address: Address, answers: Counter[bytes]) -> None:
    reader, writer = await address.open_connection()
    for _ in range(REQUESTS):
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        answers[await reader.readexactly(int(length.partition(b":")[2]))] += 1
        await asyncio.sleep(0.01)
    writer.close()


if __name__ == "__main__":
    sys.exit(main())
