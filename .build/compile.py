"""Build hook: with APPSERVER_COMPILE=1 in the environment the wheel has some modules compiled by mypyc.

    APPSERVER_COMPILE=1 pip install .

The sources are the same, and are in the wheel beside the extension modules, for tracebacks. `COMPILED` and `INTERPRETED` name the
modules that are compiled and those that are not, with the reasons. Without the variable this does nothing, and nothing but hatchling is needed for building.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "http/*", "http1/*", "http2/*", "proxy/*", "engine/*", "aws/invocation",
    "telemetry/access_*", "telemetry/slot", "telemetry/http2_counts",
)  # fmt: skip
"""The modules of appserver that are compiled: those that requests and responses go through.

A class that is compiled has no interpreted subclasses; that is why one of `aws` is among them.
"""

INTERPRETED = {
    "http/request": "subclassed by what makes requests, interpreted code among it",
    "http1/lexer_httptools": "subclassed by tests, and next to all of its work is done by httptools",
    "proxy/trust": "mypyc does not take it",
    "engine/acceptor": "has a class inside of a function, which mypyc does not take; no part of a request",
    "engine/calls": "the frames of its coroutines are where the report of a blocked or late request begins",
    "http2/errors": "exceptions with attributes of the class, which mypyc forgets",
    "engine/request_id": "subclassed by tests",
    "engine/file": "a context manager made of a generator; no part of most requests",
    "engine/failure": "reports, for which speed says nothing",
}
"""The modules among them that are not, each with the reason."""


def modules(root: Path) -> list[str]:
    """The files to compile, relative to the project; raises ValueError if a module is named that does not exist."""
    package = root / "appserver"
    paths = {path for pattern in COMPILED for path in package.glob(f"{pattern}.py") if path.stem != "__init__"}
    found = {str(path.relative_to(package).with_suffix("")): str(path.relative_to(root)) for path in sorted(paths)}
    if unknown := INTERPRETED.keys() - found.keys():
        raise ValueError(f"there is no module {', '.join(sorted(unknown))}")
    return [path for name, path in found.items() if name not in INTERPRETED]


def compile_modules(root: Path, scratch: Path) -> dict[str, str]:
    """Make the extension modules below `scratch`; returns where each of them belongs in the wheel, by its path."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    # Not the project's own options: they ask for plug-ins, and for the types of all that appserver needs to run.
    # Where those are missing, mypy finds faults with other modules that there are not.
    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", f"--cache-dir={os.devnull}"]
    extensions = mypycify(
        [*options, *modules(root)],
        opt_level="2",
        debug_level="0",
        target_dir=str(scratch / "source"),
        group_name="appserver.compiled",
    )
    for extension in extensions:  # what a newer compiler warns of is not for whoever installs appserver
        extension.extra_compile_args = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
    command = build_ext(Distribution({"name": "appserver", "ext_modules": extensions}))
    command.build_lib = str(scratch / "library")
    command.build_temp = str(scratch / "objects")
    command.ensure_finalized()
    command.run()
    library = scratch / "library"
    return {str(path): str(path.relative_to(library)) for path in library.rglob("*") if path.is_file()}


class CompileHook(BuildHookInterface[Any]):
    """Adds the extension modules to the wheel."""

    _scratch: str | None = None

    def dependencies(self) -> list[str]:
        return ["mypy[mypyc]>=2.4"] if self._is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable installation runs the sources, which are about to be changed.
        if self._is_wanted() and version != "editable":
            self._scratch = tempfile.mkdtemp(prefix="appserver-compile-")
            build_data["force_include"].update(compile_modules(Path(self.root), Path(self._scratch)))
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if self._scratch is not None:
            shutil.rmtree(self._scratch)

    @staticmethod
    def _is_wanted() -> bool:
        return os.environ.get("APPSERVER_COMPILE", "0") not in ("", "0")
