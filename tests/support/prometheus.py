"""A real Prometheus that scrapes one address, for as long as a test needs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.proxies import free_ports
from tests.support.waiting import eventually

MISSING = shutil.which("prometheus") is None or shutil.which("promtool") is None
"""Whether the programs are missing; Debian has both in the package prometheus."""

CONFIGURATION = """
global:
  scrape_interval: 250ms
  scrape_timeout: 250ms
scrape_configs:
  - job_name: appserver
    static_configs:
      - targets: ["{target}"]
"""


class Prometheus:
    """Scrapes `target` (host:port) four times a second, from `with` to the end of the block."""

    def __init__(self, directory: Path, target: str) -> None:
        self._directory = directory
        self._target = target

    def __enter__(self) -> Self:
        configuration = self._directory / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(target=self._target))
        address = f"127.0.0.1:{free_ports(1)[0]}"
        self._url = f"http://{address}/api/v1/query"
        self._log = (self._directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        try:
            eventually(self._scrapes, "Prometheus scrapes")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        print((self._directory / "prometheus.log").read_text())

    def _scrapes(self) -> bool:
        try:
            return self.value("up") == 1
        except urllib.error.HTTPError as answer:  # it begins, and says so
            answer.close()
            return False
        except OSError:
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of the result."""
        question = urllib.parse.urlencode({"query": expression, "time": repr(time.time())})
        with urllib.request.urlopen(f"{self._url}?{question}", timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        return [(found["metric"], float(found["value"][1])) for found in answer["data"]["result"]]

    def value(self, expression: str) -> float | None:
        """The value of the one series of the result; None if there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None
