"""`appserver init`: a commented settings file for the application that is found here.

The source is read, not run: what would happen if a stranger's module is imported is nothing for a command that only
writes a file.
"""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appserver.cli.options import Parser
from appserver.cli.output import show
from appserver.errors import UsageError
from appserver.files.kinds import is_directory
from appserver.settings import Override, load

# The classes whose call makes an application, and the name of each for people.
_CALLS = {
    "FastAPI": "FastAPI",
    "Starlette": "Starlette",
    "Litestar": "Litestar",
    "Quart": "Quart",
    "Sanic": "Sanic",
    "BlackSheep": "BlackSheep",
    "ProtocolTypeRouter": "Django with Channels",
    "get_asgi_application": "Django",
    "get_wsgi_application": "Django, WSGI",
    "Flask": "Flask",
    "Bottle": "Bottle",
}
# The names under which people keep applications, the usual ones first.
_MODULES = ("main", "app", "asgi", "application", "server", "api", "wsgi")
_FACTORIES = ("create_app", "make_app", "create_application", "get_app")
_SKIPPED = {"node_modules", "site-packages", "tests", "venv", "build", "dist", "__pycache__"}

_TEMPLATE = """\
# The settings of appserver{about}. Every other setting, with its meaning and its default:
# `appserver settings`, or config/server.toml of the distribution.
# Check this file with `appserver check --app`, run it with `appserver`, and change it while it runs: `appserver reload`.

[app]
target = "{target}"{factory}

[[listeners]]
bind = "127.0.0.1:8000"          # "0.0.0.0:8000" for every interface; "unix:/run/app.sock" behind a proxy on this machine

[workers]
#count = "auto"                  # one for each CPU that this process may use
preload = true                   # import the application once; the workers share its memory
#max_concurrency = 100           # how many requests a worker runs at once; others wait (queue_size), or are answered 503
#max_rss = "512MiB"              # replace a worker that grows beyond this

[admin]
bind = "127.0.0.1:9464"          # /livez, /readyz, /status and /metrics, for probes and Prometheus

#[proxy]
#trusted = ["10.0.0.0/8"]        # the proxies that may say who the client is (X-Forwarded-For); this machine always may
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An application in a source file."""

    target: str
    kind: str
    is_factory: bool = False


def init_parser() -> Parser:
    parser = Parser(
        prog="appserver init",
        description="Write a commented settings file for the application that is found in the current directory.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "target", nargs="?", metavar="module:attribute", help="the application, if it is not to be looked for"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("server.toml"),
        help='default: server.toml; "-" for standard output',
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    return parser


def init(options: argparse.Namespace) -> int:
    """Write the file, and say what to do with it. Raises UsageError if there is one, or nothing to serve.

    Raises SettingsError for the name of an application that can be none.
    """
    found = [_named(options.target)] if options.target else sorted(_applications(Path()), key=_rank)
    if not found:
        raise UsageError("no application found in the Python files here; name it: appserver init module:attribute")
    application, *others = found
    text = _TEMPLATE.format(
        about=f" for {application.target}" + (f" ({application.kind})" if application.kind else ""),
        target=application.target,
        factory="\nfactory = true                   # it is a function that returns the application"
        if application.is_factory
        else "",
    )
    if options.output == Path("-"):
        show(text)
        return 0
    _write(options.output, text, replace=options.force)
    config = "" if options.output == Path("server.toml") else f" --config {options.output}"
    show(f"{options.output}: written for {application.target}{f' ({application.kind})' if application.kind else ''}\n")
    if others:
        show(f"found as well: {', '.join(other.target for other in others)}\n")
    show(f"check it: appserver check --app{config}\nrun it:   appserver{config}\n")
    return 0


def _named(target: str) -> Found:
    load(None, environ={}, overrides=[Override("app.target", target, "argument")])
    return Found(target, "")


def _write(path: Path, text: str, *, replace: bool) -> None:
    if is_directory(path):
        raise UsageError(f"{path} is a directory; expected the path of a file")
    try:
        with path.open("w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _rank(found: Found) -> tuple[object, ...]:
    """Order what was found: the likeliest first."""
    module = found.target.partition(":")[0].split(".")
    usual = _MODULES.index(module[-1]) if module[-1] in _MODULES else len(_MODULES)
    return (found.is_factory, "WSGI" in found.kind, len(module), usual, found.target)


def _applications(directory: Path) -> Iterator[Found]:
    """Yield what looks like an application in the Python files here and in the packages one or two levels below."""
    for path in sorted(_sources(directory, levels=2)):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        parts = path.relative_to(directory).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for statement in tree.body:
            yield from _in_statement(module, statement)


def _sources(directory: Path, levels: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(directory))
    except OSError:  # one that may not be read holds nothing that could be served
        return
    for entry in entries:
        path = directory / entry.name
        if entry.name.endswith(".py") and path.stem.isidentifier() and entry.is_file():
            yield path
        elif levels and entry.name.isidentifier() and entry.name not in _SKIPPED and entry.is_dir():
            yield from _sources(path, levels - 1)


def _in_statement(module: str, statement: ast.stmt) -> Iterator[Found]:
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=call))
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=call))
        ):
            kind = _CALLS.get(call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", ""))
            if kind:
                yield Found(f"{module}:{name}", kind)
        case ast.AsyncFunctionDef(name=name, args=ast.arguments(args=[_, _, _])) if _is_asgi(statement):
            yield Found(f"{module}:{name}", "ASGI")
        case ast.FunctionDef(name=name) if name in _FACTORIES and not _needs_arguments(statement.args):
            yield Found(f"{module}:{name}", "a factory", is_factory=True)


def _is_asgi(function: ast.AsyncFunctionDef) -> bool:
    return [argument.arg for argument in function.args.args] == ["scope", "receive", "send"]


def _needs_arguments(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return positional > len(arguments.defaults) or any(default is None for default in arguments.kw_defaults)
