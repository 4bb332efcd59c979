"""The options of the interpreter hold for the application as well."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.server import Server

APPLICATION = textwrap.dedent("""
    import json, sys

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        found = [sys.flags.optimize, sys.flags.dev_mode, sys._xoptions.get("marked"), sys.warnoptions, __debug__]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(found).encode()})
    """)


@pytest.mark.parametrize("preload", [pytest.param(False, marks=pytest.mark.long), True])
def test_they_are_passed_on_to_the_workers(tmp_path: Path, preload: bool) -> None:
    program = tmp_path / "python"
    options = "-O -X dev -X marked=yes -W ignore::ResourceWarning"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
    program.chmod(0o755)
    settings = {"app": {"target": "flags:app"}, "workers": {"count": 1, "preload": preload}}
    with Server(tmp_path, settings, files={"flags.py": APPLICATION}, python=str(program)) as server:
        optimize, dev_mode, marked, warnings, debug = json.loads(server.request("/").text)
    assert (optimize, dev_mode, marked, debug) == (1, True, "yes", False)
    assert "ignore::ResourceWarning" in warnings
