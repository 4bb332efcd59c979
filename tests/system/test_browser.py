"""A browser: a page that talks over WebSocket with the server that it came from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.certificates import Authority

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Echoes of a text that has to be masked, of one that is compressed, and of octets; then the close of the page's side. The
# browser prints the page when all of it is loaded: its picture, which comes when the page has asked for it by /done.
SITE = '''
import asyncio

from application import app as usual

DONE = asyncio.Event()

PAGE = """<!doctype html><title>page</title><pre id="log"></pre><img src="/picture"><script>
const log = line => { document.getElementById("log").textContent += line + ";" };
const socket = new WebSocket(location.protocol.replace("http", "ws") + "//" + location.host + "/session");
socket.binaryType = "arraybuffer";
const messages = ["grüße", "x".repeat(100000), new Uint8Array([0, 255, 1])];
socket.onopen = () => { log("open " + socket.extensions.split(";")[0]); socket.send(messages[0]); };
socket.onmessage = event => {
  const sent = messages.shift();
  const got = typeof event.data === "string" ? event.data : new Uint8Array(event.data);
  log(String(got) === String(sent) ? "same" : "different");
  if (messages.length) socket.send(messages[0]); else socket.close(1000, "enough");
};
socket.onclose = event => { log("closed " + event.code + " " + event.wasClean); fetch("/done"); };
</script>""".encode()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return await usual(scope, receive, send)
    if scope["path"] == "/done":
        DONE.set()
    elif scope["path"] == "/picture":
        await DONE.wait()
    body = PAGE if scope["path"] == "/page" else b""
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
'''


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.skipif(BROWSER is None, reason="needs chromium (Debian: chromium)")
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_page_talks_with_the_server_it_came_from(start_server: StartServer, tmp_path: Path, version: str) -> None:
    """Over HTTP/2, which browsers speak over TLS only, page and session share a connection (RFC 8441)."""
    settings: dict[str, Any] = {"app": {"target": "site_with_page:app"}}
    if version == "2":
        certificate, key = Authority().issue("localhost", "127.0.0.1").write(tmp_path, "server")
        settings["listeners"] = [{"bind": "127.0.0.1:0", "tls": True}]
        settings["tls"] = {"certificate": str(certificate), "key": str(key)}
    server = start_server(settings, files={"site_with_page.py": SITE})
    scheme = "https" if version == "2" else "http"
    options = [
        "--headless",
        "--disable-gpu",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--ignore-certificate-errors",
    ]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    assert BROWSER is not None
    page = subprocess.run(
        [BROWSER, *options, f"{scheme}://{server.address}/page"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    found = re.search(r'<pre id="log">(.*?)</pre>', page.stdout)
    assert found, page.stderr
    assert found[1] == "open permessage-deflate;same;same;same;closed 1000 true;"
    assert server.output.wait_for("session")["http_version"] == version
