"""A framework application under the load of wrk."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap

import pytest

from tests.conftest import StartServer

FASTAPI = textwrap.dedent("""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/items/{number}")
    async def item(number: int, name: str = "nobody") -> dict[str, object]:
        return {"number": number, "name": name}
    """)


@pytest.mark.long
def test_fastapi_on_two_workers_answers_wrk_without_an_error(start_server: StartServer) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("needs wrk (Debian package wrk)")
    settings = {"app": {"target": "shop:app"}, "workers": {"count": 2}, "access_log": {"enabled": False}}
    server = start_server(settings, files={"shop.py": FASTAPI})
    url = f"http://{server.address}/items/7?name=somebody"
    report = subprocess.run(["wrk", "-t1", "-c64", "-d3s", url], check=True, capture_output=True, text=True).stdout
    requests = re.search(r"(\d+) requests in", report)
    assert requests is not None
    assert int(requests[1]) > 100
    # wrk only has these lines when there is something to say.
    assert "Socket errors" not in report, report
    assert "Non-2xx" not in report, report
