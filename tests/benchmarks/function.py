"""The cost of a warm invocation on Lambda, without the Runtime API: `python -m tests.benchmarks.function`.

Appserver and Mangum answer the same events with the same application, in turns; the figures are microseconds of CPU time, the least of
the rounds, without and with the JSON of event and answer. Mangum runs the lifespan around every event unless it is told not to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from mangum import Mangum

from appserver.aws.adapter import Adapter, Invocation
from appserver.settings import Override, load
from appserver.telemetry.logs import get_logger
from tests.unit.aws import events

HEADERS = {
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "host": "abc123.lambda-url.eu-central-1.on.aws",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
}
EVENTS: dict[str, dict[str, Any]] = {
    "function URL": {**events.FUNCTION_URL, "headers": HEADERS},
    "REST API": events.REST,
    "load balancer": events.BALANCER,
}


class Context:
    aws_request_id = "79104EXAMPLEB723"

    def get_remaining_time_in_millis(self) -> int:
        return 3000


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": (await receive())["type"] + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Hello, world!"})


def with_appserver(raw: str, number: int, as_json: bool) -> float:
    settings = load(None, environ={}, overrides=[Override("app.target", "the:application", "benchmark")]).settings

    async def answer_all() -> float:
        adapter = Adapter(application, settings, state={}, access_log=None, logger=get_logger("benchmark"))
        event, context = json.loads(raw), Context()
        began = time.process_time()
        for _ in range(number):
            found = json.loads(raw) if as_json else event
            invocation = Invocation(found, context, context.aws_request_id, time.monotonic() + 3)
            answer = await adapter.answer(invocation)
            await adapter.settle(invocation)
            if as_json:
                json.dumps(answer)
        return time.process_time() - began

    return asyncio.run(answer_all())


def with_mangum(lifespan: Any) -> Callable[[str, int, bool], float]:
    def answer_all(raw: str, number: int, as_json: bool) -> float:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        handler: Any = Mangum(application, lifespan=lifespan)
        event, context = json.loads(raw), Context()
        began = time.process_time()
        for _ in range(number):
            answer = handler(json.loads(raw) if as_json else event, context)
            if as_json:
                json.dumps(answer)
        took = time.process_time() - began
        loop.close()
        return took

    return answer_all


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--number", type=int, default=2000, help="events in a round")
    options = parser.parse_args()
    peers = {"appserver": with_appserver, "Mangum": with_mangum("auto"), "Mangum, lifespan off": with_mangum("off")}
    print("| CPU, µs | " + " | ".join(peers) + " | share |\n|---|" + "---|" * (len(peers) + 1))
    for name, event in EVENTS.items():
        for as_json in (False, True):
            raw = json.dumps(event)
            least = dict.fromkeys(peers, float("inf"))
            for _ in range(options.rounds):
                for peer, answer_all in peers.items():
                    least[peer] = min(least[peer], answer_all(raw, options.number, as_json) / options.number * 1e6)
            cells = [f"{value:.1f}" for value in least.values()]
            share = least["appserver"] / least["Mangum"]
            print(f"| {name}{', with JSON' if as_json else ''} | {' | '.join(cells)} | {share:.2f} |")


if __name__ == "__main__":
    main()
