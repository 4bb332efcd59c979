"""The rules that hold the package together, read from its source.

Each rule is a table below, followed by the test that holds it. Whoever has a good reason to change a rule changes the
table, in the same commit, and says why there.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "appserver"

LAYERS = (
    {"appserver.__main__"},
    {"appserver.cli", "appserver.logs", "appserver.pytest_plugin", "appserver.testing"},
    {"appserver.inprocess"},
    {"appserver.aws", "appserver.master", "appserver.worker"},
    {"appserver.engine"},
    {"appserver.telemetry"},
    {"appserver.http1", "appserver.http2", "appserver.proxy"},
    {"appserver.asgi", "appserver.http", "appserver.websocket", "appserver.supervision"},
    {"appserver.tls"},
    {"appserver.settings"},
    {"appserver.files"},
    {
        "appserver.distribution",
        "appserver.errors",
        "appserver.forked",
        "appserver.late",
        "appserver.leftovers",
        "appserver.nearest",
        "appserver.signals",
        "appserver.titles",
    },
    {"appserver"},  # the version
)
"""Who stands above whom. An import goes downwards; those on one level do not know each other."""

SIDEWAYS = {("appserver.master", "appserver.worker.messages")}
"""The exceptions: master and worker share the messages that they exchange."""

NO_INPUT_OUTPUT = {"asyncio", "os", "select", "selectors", "signal", "socket", "subprocess", "threading", "time"}
"""What the pure packages must not import: they decide, others act. The time comes in as an argument."""

PURE = (
    "appserver.http", "appserver.http1", "appserver.http2", "appserver.proxy", "appserver.supervision",
    "appserver.websocket",
)  # fmt: skip

DOORS = {
    "os.fork": {"appserver.worker.zygote"},
    "os.environ": {
        "appserver.aws.environment",  # which is how Lambda speaks to a process
        "appserver.cli",
        "appserver.inprocess.embedding",  # the variables of app.env_file, for the application
        "appserver.inprocess.terminal",  # PYTHONBREAKPOINT
        "appserver.master.configuration",  # what a zygote's environment is made from
        "appserver.master.program",  # what a service manager has said: sockets, and where to report
        "appserver.master.upgrade",  # the new program has the environment of the old one
        "appserver.telemetry.logs",  # NO_COLOR, TERM and JOURNAL_STREAM
        "appserver.worker.privileges",  # HOME and USER go with the user
    },
    "os.chmod": {"appserver.files"},
    "os.chown": {"appserver.files"},
    "os.fchmod": {"appserver.files"},
    "os.fchown": {"appserver.files"},
    "os.umask": {"appserver.files", "appserver.worker.privileges"},
    "os._exit": {"appserver.aws.ending", "appserver.forked", "appserver.worker.ending", "appserver.worker.zygote"},
    "signal.signal": {
        "appserver.inprocess.terminal",  # Ctrl-C has to work where the event loop does not
        "appserver.worker.children",  # a forked child gets the defaults
        "appserver.worker.zygote",  # the others have event loops: add_signal_handler
    },
    "sys.exit": {"appserver.__main__"},
    "sys.path": {
        "appserver.asgi.hints",
        "appserver.asgi.loader",
        "appserver.settings.checks",
    },  # only the loader changes it
}
"""What changes the process as a whole, and the only modules or packages that may do it."""

LIBRARIES = {
    "h11": {"appserver.http1"},
    "hpack": {"appserver.http2"},
    "httptools": {"appserver.http1"},
    "orjson": {"appserver.telemetry"},
    "prometheus_client": {"appserver.telemetry"},
    "pytest": {"appserver.pytest_plugin"},
    "pydantic": {"appserver.settings"},
    "pydantic_core": {"appserver.settings"},
    "pydantic_settings": {"appserver.settings"},
    "setproctitle": {"appserver.titles"},
    "outcome": {"appserver.asgi"},  # comes with trio
    "structlog": {"appserver.telemetry"},
    "trio": {"appserver.asgi"},
    "uvloop": {"appserver.worker"},
    "watchfiles": {"appserver.cli", "appserver.master"},
    "websockets": {"appserver.websocket"},
}
"""The third-party libraries, and the only package each of them is known to."""

CIRCULAR = {
    ("appserver.tls.context", "appserver.tls.material"),
}
"""Late imports that close a circle: module and what it imports. To be parted when there is a reason to touch them."""

MAX_LINES = 400
LONGER = {
    "appserver.engine.connection": "one state for both sides of a connection, and requests and responses that meet in it",
}
"""Modules that are longer, each with the reason why it is not two files."""

TOP_LEVEL = {
    "appserver", "config", "deploy", "Dockerfile", "LICENSE", "pyproject.toml", "README.md", "systemd", "tests",
}  # fmt: skip
"""What lies in the project's folder, besides dot-files. Other documents live in the folder that they describe."""

PRODUCED = {"build", "dist", "__pycache__"}
"""What tools leave there; it is not part of the project."""


@dataclass(frozen=True)
class Import:
    """One imported module (or name of a module) and whether that happens when the importing module is imported."""

    name: str
    line: int
    at_once: bool


@dataclass(frozen=True)
class Module:
    """One source file of the package, and what the rules ask of it; its tree would be most of the objects of the tests."""

    name: str
    path: Path
    docstring: str | None
    imports: tuple[Import, ...]
    """Everything that it imports; `from a import b` as a.b."""
    uses: tuple[tuple[str, int], ...]
    """Every name of another module that it takes: `os.fork`, whether written so or imported from there."""

    @classmethod
    def read(cls, name: str, path: Path) -> Self:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        imports = tuple(_imports(tree, path))
        return cls(name, path, ast.get_docstring(tree), imports, tuple(_uses(tree, imports)))

    @property
    def package(self) -> str:
        """The part of the package that it belongs to: appserver.http of appserver.http.head."""
        return ".".join(self.name.split(".")[:2])

    def is_part_of(self, names: set[str]) -> bool:
        """Whether it is one of these modules, or in one of these packages."""
        return any(f"{self.name}.".startswith(f"{name}.") for name in names)


def _imports(tree: ast.Module, path: Path) -> Iterator[Import]:
    late = {id(node) for scope in _late_scopes(tree) for node in ast.walk(scope)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (Import(name, node.lineno, id(node) not in late) for name in names)


def _late_scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """What does not run at import: functions, and blocks for the type checker alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from node.body


def _uses(tree: ast.Module, imports: tuple[Import, ...]) -> Iterator[tuple[str, int]]:
    for imported in imports:
        yield imported.name, imported.line
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module.read(name, path)
    return found


def imported_module(name: str) -> str:
    """The module of this package that an imported name stands for: appserver.errors of appserver.errors.UsageError."""
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def own_imports(module: Module) -> Iterator[tuple[str, Import]]:
    for imported in module.imports:
        if imported.name.split(".")[0] == "appserver":
            yield imported_module(imported.name), imported


def layer_of(package: str) -> int:
    return next(level for level, packages in enumerate(LAYERS) if package in packages)


def test_every_part_of_the_package_has_a_layer() -> None:
    known = {package for packages in LAYERS for package in packages}
    assert {module.package for module in modules().values()} <= known


def test_imports_go_downwards() -> None:
    wrong = []
    for module in modules().values():
        for target, imported in own_imports(module):
            package = modules()[target].package
            downwards = layer_of(package) > layer_of(module.package)
            if not (downwards or package == module.package or (module.package, target) in SIDEWAYS):
                wrong.append(f"{module.path}:{imported.line}: {module.name} imports {target}")
    assert not wrong


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_know_no_input_output_and_no_clock(package: str) -> None:
    wrong = [
        f"{module.path}:{imported.line}: {imported.name}"
        for module in modules().values()
        if module.package == package
        for imported in module.imports
        if imported.name.split(".")[0] in NO_INPUT_OUTPUT
    ]
    assert not wrong


def test_no_imports_in_a_circle() -> None:
    """Whenever they happen: an import inside a function, or for the type checker alone, makes a circle as well."""
    graph = {
        module.name: {
            target
            for target, imported in own_imports(module)
            if target != module.name and (imported.at_once or (module.name, target) not in CIRCULAR)
        }
        for module in modules().values()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", DOORS)
def test_what_changes_the_whole_process_has_one_door(name: str) -> None:
    wrong = [
        f"{module.path}:{line}"
        for module in modules().values()
        for used, line in module.uses
        if (used == name or used.startswith(f"{name}.")) and not module.is_part_of(DOORS[name])
    ]
    assert not wrong


def test_each_library_has_one_door() -> None:
    wrong = [
        f"{module.path}:{imported.line}: {imported.name}"
        for module in modules().values()
        for imported in module.imports
        if module.package not in LIBRARIES.get(imported.name.split(".")[0], {module.package})
    ]
    assert not wrong


def test_no_module_is_too_long() -> None:
    long = [name for name, module in modules().items() if len(module.path.read_text("utf-8").splitlines()) > MAX_LINES]
    assert sorted(long) == sorted(LONGER)


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [name for name in modules() if re.search(r"\b_?(utils?|helpers?|common|misc)\b", name)]


def test_every_module_says_what_it_is_for() -> None:
    assert not [name for name, module in modules().items() if not module.docstring]


def test_every_package_opens_as_a_chapter() -> None:
    short = {
        module.name
        for module in modules().values()
        if module.path.name == "__init__.py" and len((module.docstring or "").splitlines()) < 3
    }
    assert short <= {"appserver"}  # its chapter is appserver/README.md


def test_the_top_level_holds_nothing_else() -> None:
    names = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert names - PRODUCED <= TOP_LEVEL


def test_nothing_names_a_place_that_only_one_machine_has() -> None:
    # Put together here, so that this file does not hold what it looks for.
    places = re.compile(
        "|".join(("/" + "root/", "/" + "work/", "/" + "home/[a-z]", "pypi" + r"\.org", "python" + "hosted"))
    )
    folders = [ROOT / name for name in (*TOP_LEVEL, ".ci", ".gitignore")]
    files = [path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*"))]
    wrong = []
    for path in files:
        # Extension modules name folders of the interpreter that they were linked for.
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so":
            wrong += [f"{path}: {found[0]}" for found in places.finditer(path.read_text("utf-8", errors="replace"))]
    assert not wrong
