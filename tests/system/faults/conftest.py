"""The figures that the tests here have printed are shown at the end of the run, of those that have passed, too."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        (report.nodeid.rpartition("::")[2], report.capstdout.strip())
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and "/faults/" in report.nodeid and report.capstdout.strip()
    ]
    if figures:
        terminalreporter.section("figures")
    for name, text in figures:
        terminalreporter.write_line(f"{name}\n    " + "\n    ".join(text.splitlines()))
