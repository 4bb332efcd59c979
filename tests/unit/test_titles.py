"""What ps, top and pgrep show of the processes."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("call", "title", "short"),
    [
        ("call_master('server.toml')", "appserver: master [server.toml]", "appserver"),
        ("call_master('\\udcff.toml')", "appserver: master [?.toml]", "appserver"),
        ("call_zygote(3)", "appserver: zygote g3", "appserver z g3"),
        ("call_worker(2, 3)", "appserver: worker 2 g3", "appserver w2 g3"),
    ],
)
def test_a_process_is_named_in_full_and_in_the_fifteen_characters_of_the_kernel(
    call: str, title: str, short: str
) -> None:
    program = (
        f"from appserver.titles import *; {call}; "
        "print(open('/proc/self/cmdline').read().split(chr(0))[0]); print(open('/proc/self/comm').read())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [title, short]
