"""Every text that `appserver check` answers to broken files, environments and command lines (broken.toml)."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from appserver.cli import main

CASES: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("broken.toml").read_text(encoding="utf-8"))["case"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_mistake_is_answered_with_its_text(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in os.environ:
        if name.upper().startswith("APPSERVER_") or name in ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
            monkeypatch.delenv(name)
    for name, value in case.get("environ", {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    if "file" in case:
        Path("server.toml").write_text(case["file"], encoding=case.get("encoding", "utf-8"))
    assert main(["check", *case["arguments"]]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    said = output.err.splitlines()
    expected: list[str] = case["says"]
    assert [shortened(line, wanted) for line, wanted in zip(said, expected, strict=False)] == expected
    assert len(said) == len(expected)


def shortened(line: str, wanted: str) -> str:
    """Cut a line where the wanted one ends with "..."."""
    return line[: len(wanted) - 3] + "..." if wanted.endswith(" ...") else line
