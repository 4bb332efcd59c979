"""The figures that the attacks have printed are shown at the end of the run, also of those that were repelled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def _figures(text: str) -> Iterator[str]:
    """What a test has printed itself, without the logs that a server leaves when it ends."""
    for line in text.splitlines():
        if line and not line.startswith(("{", "---", "appserver: ")):
            yield line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        (report.nodeid.rpartition("::")[2], "\n".join(_figures(report.capstdout)))
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and "/attacks/" in report.nodeid
    ]
    figures = [(name, text) for name, text in figures if text]
    if figures:
        terminalreporter.section("figures of the attacks")
    for name, text in figures:
        terminalreporter.write_line(f"{name}\n    " + "\n    ".join(text.splitlines()))
