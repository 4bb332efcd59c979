"""The plugin for pytest: the fixture `appserver`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from appserver.inprocess.embedding import RunningServer


class Serve(Protocol):
    """Serves an application until the test ends; takes what `appserver.testing.serve` takes."""

    def __call__(self, application: Any, **options: Any) -> RunningServer: ...


@pytest.fixture
def appserver() -> Iterator[Serve]:
    """Serve applications until the end of a test, each by a call of what this gives: `appserver(app).url`."""
    with ExitStack() as servers:

        def serve(application: Any, **options: Any) -> RunningServer:
            from appserver.inprocess.embedding import threaded

            return servers.enter_context(threaded(application, **options))

        yield serve
