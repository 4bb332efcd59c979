"""Reading another server's configuration file: TOML, or a Python program, which runs in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appserver.errors import UsageError
from appserver.files.kinds import is_regular

LIMIT = 30  # seconds that such a program may take

# It runs the file, or imports the module, and writes down what has become of its names. What is no data is a function, of
# which the name is enough. The answer has a file of its own: the program may print.
_READER = """
import importlib, importlib.machinery, importlib.util, json, os, sys
location, answer = sys.argv[1:]
sys.path.insert(0, os.getcwd())
if location.startswith("python:"):
    module = importlib.import_module(location[7:])
else:
    path = location.removeprefix("file:")
    loader = importlib.machinery.SourceFileLoader("__config__", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("__config__", path, loader=loader))
    sys.modules["__config__"] = module
    loader.exec_module(module)
names = {name: value for name, value in vars(module).items() if not name.startswith("__")}
with open(answer, "w") as file:
    json.dump(names, file, default=lambda value: {"name": getattr(value, "__name__", str(value))}, skipkeys=True)
"""


def read(location: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the names that a configuration sets; `location` is a path, "file:PATH" or "python:MODULE".

    A function or a class is {"name": its name}. Raises UsageError when it cannot be read.
    """
    if location.endswith(".toml"):
        try:
            return tomllib.loads(Path(location).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{location}: {error}") from error
    if not location.startswith("python:") and not is_regular(Path(location.removeprefix("file:"))):
        raise UsageError(f"{location}: no such file")
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch, "names.json")
        command = [sys.executable, "-c", _READER, location, os.fspath(answer)]
        try:
            done = subprocess.run(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"{location}: it does not end within {LIMIT} s") from None
        if done.returncode or not answer.exists():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise UsageError(f"{location}: it cannot be read: {last[0]}")
        names: dict[str, Any] = json.loads(answer.read_text())
        return names
