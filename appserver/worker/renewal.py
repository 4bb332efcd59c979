"""Taking other certificates into use in a worker, however few descriptors are left."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl

from appserver.telemetry.logs import get_logger
from appserver.tls import Material, ServerTLS
from appserver.worker.descriptors import Reserve

# Seconds until the next try, where OpenSSL could not open the files that it reads certificates from.
PAUSE = 1.0


class Renewal:
    """Has the worker's listeners use the certificates that the master has sent last."""

    def __init__(self, tls: ServerTLS | None, loop: asyncio.AbstractEventLoop, reserve: Reserve) -> None:
        self._tls = tls
        self._loop = loop
        self._reserve = reserve
        self._timer: asyncio.TimerHandle | None = None
        self._log = get_logger("appserver.worker")

    def begin(self, text: str) -> None:
        """Use this `Material` (as JSON) from the next connection on, or as soon as there are descriptors for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not text:
            self._log.error("certificates not renewed", reason=os.strerror(errno.EMFILE), advice="reload the server")
        elif self._tls is not None:
            self._try(self._tls, Material.load(text), again=False)

    def _try(self, tls: ServerTLS, material: Material, *, again: bool) -> None:
        try:
            with self._reserve.lent():
                tls.renew(material)
        except ssl.SSLError:
            raise
        except OSError as error:
            if not again:
                self._log.warning("certificates not renewed yet", reason=str(error), advice="it is tried each second")
            self._timer = self._loop.call_later(PAUSE, lambda: self._try(tls, material, again=True))
        else:
            self._timer = None
            if again:
                self._log.info("certificates renewed")
