"""The loggers of appserver's own parts, which are structlog's.

Imported for the first record: a function on AWS Lambda starts without one. The zygote imports it for all workers.
"""

from __future__ import annotations

import logging
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger

from appserver.telemetry.log_capture import StructlogProcessor
from appserver.telemetry.record import Emit


def make_logger(name: str, emit: Emit) -> FilteringBoundLogger:
    """Make a logger that does not depend on how the application sets structlog up."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.processors.StackInfoRenderer(), StructlogProcessor(emit)],
        wrapper_class=_WRAPPER,
        context_class=dict,
    )
    return cast("FilteringBoundLogger", logger.bind())


_WRAPPER = structlog.make_filtering_bound_logger(logging.NOTSET)
