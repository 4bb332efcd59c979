"""`appserver lambda`: the runtime of a function on AWS Lambda."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from appserver import signals
from appserver.cli.reading import reader
from appserver.errors import UsageError
from appserver.settings import Loaded, Override

if TYPE_CHECKING:
    import argparse

    from appserver.cli.options import Parser


def lambda_parser() -> Parser:
    from appserver.cli.options import application_parser

    return application_parser(
        "appserver lambda",
        "Serve the events of an AWS Lambda function: the bootstrap of a custom runtime (provided.al2023), or the command of a"
        " container image. Of the settings, [lambda] says how; nothing listens.",
    )


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command; `arguments` begin with its word."""
    signals.unblock()
    environ = dict(os.environ)
    match arguments[1:]:
        # A client waits while a function starts: the forms that it is started in do without the parser.
        case []:
            return _serve(environ, lambda: _reader(None, None, environ))
        case [target] if ":" in target and not target.startswith("-"):
            return _serve(environ, lambda: _reader(target, None, environ))
        case ["-c" | "--config", file] if (
            file and not file.startswith("-") and not file.endswith(".py") and ":" not in file
        ):
            return _serve(environ, lambda: _reader(None, [Path(file)], environ))
        case rest:
            return serve_function(lambda_parser().parse(rest))


def serve_function(options: argparse.Namespace) -> int:
    """Be the runtime until Lambda ends it. Raises as a run does."""
    environ = dict(os.environ)

    def prepare() -> Callable[[], Loaded]:
        from appserver.cli.options import loader

        if options.target is None and not options.config:
            options.target = _handler(environ)
        return loader(options, environ)

    return _serve(environ, prepare)


def _reader(target: str | None, config: Sequence[Path] | None, environ: Mapping[str, str]) -> Callable[[], Loaded]:
    target = target if target is not None or config is not None else _handler(environ)
    return reader(config, [] if target is None else [Override("app.target", target, "argument")], environ)


def _handler(environ: Mapping[str, str]) -> str | None:
    """Return the function's Handler, where that names an application and nothing else does."""
    handler = environ.get("_HANDLER", "")
    return handler if ":" in handler and not environ.get("APPSERVER_CONFIG") else None


def _serve(environ: Mapping[str, str], prepare: Callable[[], Callable[[], Loaded]]) -> int:
    """Be the runtime with the settings that `prepare` returns the reader of."""
    from appserver.aws.bootstrap import run
    from appserver.aws.environment import Environment

    Environment.read()  # before anything else is found wrong: nothing of it matters elsewhere
    load = prepare()
    handler = environ.get("_HANDLER", "")

    def load_or_explain() -> Loaded:
        try:
            return load()
        except UsageError as error:
            if handler and ":" not in handler:
                meant = ":".join(handler.rsplit(".", 1))
                raise UsageError(
                    f'{error}\nor, on Lambda, its Handler, with a colon: "{meant}" instead of "{handler}"'
                ) from None
            raise

    return run(load_or_explain)
