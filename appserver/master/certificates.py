"""The certificates and keys that the server uses: read by the master, renewed when their files change, and watched.

The master reads them with its own privileges, which zygotes give up, and refuses settings whose files it cannot use.
Files are read again every `tls.check_interval`. Changed certificates are sent to the zygotes and workers that use them, and
are in effect from their next connection on; unusable ones are logged, and those in use stay. A tool that
replaces certificate and key one after the other is looked at again soon enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from appserver.errors import SettingsError
from appserver.settings import Loaded, TLSSettings
from appserver.telemetry.record import timestamp
from appserver.tls import Material, read_material, speaks_tls

if TYPE_CHECKING:
    from appserver.engine.service import Logger

WARNING_AHEAD = 14 * 86400.0
"""So many seconds before a certificate expires people are told, and reminded once a day."""

REMINDER_INTERVAL = 86400.0

IDLE_INTERVAL = 60.0
"""Between two looks at the calendar where files are not looked at."""


class Certificates:
    """The certificates that one load of the settings names: the material, and where to look for a newer one."""

    def __init__(self, settings: TLSSettings, material: Material) -> None:
        self.settings = settings
        self.material = material

    @classmethod
    def of(cls, loaded: Loaded) -> Certificates | None:
        """Read what these settings name; None if no listener speaks TLS. Raises SettingsError."""
        settings = loaded.settings
        if not speaks_tls(settings):
            return None

        def where(key: str) -> str:
            origin = loaded.origins.get(key) or loaded.origins.get("tls.sni")
            return origin.where if origin and origin.where else "tls"

        return cls(settings.tls, read_material(settings.tls, where))

    def read_again(self) -> bool:
        """Look whether there is a newer material, and have it; returns whether there is. Raises SettingsError."""
        material = read_material(self.settings)
        if material == self.material:
            return False
        self.material = material
        return True


class CertificateWatch:
    """Looks after the certificates of a running server."""

    def __init__(
        self,
        generations: Callable[[], Mapping[int, Certificates | None]],
        renew: Callable[[int, Material], None],
        log: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`generations`: what each living generation uses; `renew` gives one of them another material."""
        self._generations = generations
        self._renew = renew
        self._clock = clock
        self._log = log
        self._complaints: dict[int, str] = {}  # why a material cannot be renewed, by the identity of its Certificates
        self._reminded: dict[tuple[str, float], float] = {}
        self._next: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look now, and from now on; to be called again when other settings hold, which may want it more often."""
        self._loop = loop
        if self._next is not None:
            self._next.cancel()
        self._turn()

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()

    def _turn(self) -> None:
        in_use = self._in_use()
        interval = min(
            (found.settings.check_interval for found in in_use if found.settings.check_interval), default=0.0
        )
        if interval:
            self.look_at_files()
        self.look_at_calendar()
        self._next = self._loop.call_later(interval or IDLE_INTERVAL, self._turn)

    def look_at_files(self) -> None:
        """Take over what has changed."""
        complaints: dict[int, str] = {}
        for certificates in self._in_use():
            before = certificates.material
            try:
                if certificates.settings.check_interval > 0 and certificates.read_again():
                    self._spread(certificates, before)
            except (SettingsError, OSError) as error:  # OSError: this process has no descriptor left
                certificates.material = before
                complaints[id(certificates)] = str(error)
                if self._complaints.get(id(certificates)) != str(error):
                    self._log.error("certificates not renewed", reason=str(error), advice="those in use are kept")
        self._complaints = complaints

    def _spread(self, certificates: Certificates, before: Material) -> None:
        for generation, used in self._generations().items():
            if used is certificates:
                self._renew(generation, certificates.material)
        material = certificates.material
        for pair in material.pairs:
            if pair not in before.pairs:
                self._log.info("certificate renewed", certificate=pair.path, expires_at=timestamp(pair.expires_at))
        if material.client_ca != before.client_ca:
            self._log.info("client authorities renewed", file=str(certificates.settings.client_ca))

    def look_at_calendar(self) -> None:
        """Say, once a day, which certificates expire soon or have expired."""
        now = self._clock()
        for path, expires_at in expiries(self._in_use()).items():
            left = expires_at - now
            last = self._reminded.get((path, expires_at))
            # A clock that has been set back since would keep a reminder that came in its future from coming again.
            if left > WARNING_AHEAD or (last is not None and 0 <= now - last < REMINDER_INTERVAL):
                continue
            self._reminded[path, expires_at] = now
            fields = {"certificate": path, "expires_at": timestamp(expires_at), "days_left": int(left // 86400)}
            if left > 0:
                self._log.warning("certificate expires soon", **fields)
            else:
                self._log.error("certificate has expired", **fields, advice="clients refuse it: renew the file")

    def _in_use(self) -> list[Certificates]:
        """Each of them once."""
        found = {id(used): used for used in self._generations().values() if used is not None}
        return list(found.values())


def expiries(in_use: Iterable[Certificates | None]) -> dict[str, float]:
    """When each certificate expires, by its file; the earliest moment where generations use different ones."""
    moments: dict[str, float] = {}
    for certificates in in_use:
        for pair in certificates.material.pairs if certificates is not None else ():
            moments[pair.path] = min(pair.expires_at, moments.get(pair.path, pair.expires_at))
    return moments
