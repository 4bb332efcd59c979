"""Modules written by tests, imported in this process, and gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest


class Project:
    """A directory of Python modules; what is imported from it is forgotten with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, code: str = "") -> Path:
        """Write a file below the directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(code).lstrip("\n"))
        return path


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    modules, path = set(sys.modules), sys.path.copy()
    try:
        yield Project(tmp_path)
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if str(tmp_path) in str(getattr(sys.modules[name], "__spec__", "")):
                del sys.modules[name]
