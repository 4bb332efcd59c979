"""Who is connected when a stop begins is served; who comes later is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.system.faults.scene import measured_load


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:{}/app.sock"])
def test_no_connection_is_lost_by_a_stop(start_server: StartServer, tmp_path: Path, bind: str) -> None:
    for _ in range(2):
        settings = {
            "listeners": [{"bind": bind.format(tmp_path)}],
            "workers": {"count": 2},
            "shutdown": {"linger": 5},  # on a busy machine a client may stand still between connecting and sending
            "http": {"max_requests_per_connection": 1},  # so that clients connect all the time
        }
        server = start_server(settings)
        with measured_load(server.address, f"TERM, {bind}", connections=32, pause=(0, 0)) as load:
            load.wait_for_requests(300)
            assert server.stop() == 0
        assert load.tally.failed == load.tally.failures["connect"], load.tally
