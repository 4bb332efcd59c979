"""`appserver lambda`: the runtime of a function on AWS Lambda."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from appserver import signals
from appserver.cli.options import Parser, application_parser, loader
from appserver.errors import UsageError

if TYPE_CHECKING:
    from appserver.settings import Loaded


def lambda_parser() -> Parser:
    return application_parser(
        "appserver lambda",
        "Serve the events of an AWS Lambda function: the bootstrap of a custom runtime (provided.al2023), or the command of a"
        " container image. Of the settings, [lambda] says how; nothing listens.",
    )


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command; `arguments` begin with its word."""
    signals.unblock()
    return serve_function(lambda_parser().parse(arguments[1:]))


def serve_function(options: argparse.Namespace) -> int:
    """Be the runtime until Lambda ends it. Raises as a run does."""
    from appserver.aws.bootstrap import run
    from appserver.aws.environment import Environment

    Environment.read()  # before anything else is found wrong: nothing of it matters elsewhere
    environ = dict(os.environ)
    handler = environ.get("_HANDLER", "")
    if options.target is None and not options.config and not environ.get("APPSERVER_CONFIG") and ":" in handler:
        options.target = handler
    load = loader(options, environ)

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
