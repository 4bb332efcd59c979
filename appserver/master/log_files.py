"""The master's log."""

from __future__ import annotations

from appserver.errors import SettingsError
from appserver.master.belongings import prepare_log_files
from appserver.settings import Settings
from appserver.telemetry.logs import configure, get_logger


class MasterLog:
    """The log of the master, through every reload that moves it."""

    def __init__(self, settings: Settings) -> None:
        """Open it. Raises SettingsError."""
        prepare_log_files(settings)
        self._settings = settings.logging
        self._output = configure(settings.logging, process="master")
        self._dropped_before = 0

    def start_writer(self) -> None:
        """Write from a thread of its own from now on."""
        self._output.start_writer()

    def apply(self, settings: Settings) -> None:
        """Go on as other settings say; the old ones stay in force, and that is logged, if the new cannot be used."""
        if settings.logging == self._settings:
            return
        old = self._output
        try:
            self._output = configure(settings.logging, process="master")
        except SettingsError as error:
            get_logger("appserver.master").error("log not moved", reason=str(error))
            return
        self._settings = settings.logging
        self._dropped_before += old.dropped
        self._output.start_writer()

    def reopen(self) -> None:
        """Open the file anew, after a rotation."""
        self._output.reopen()

    @property
    def dropped(self) -> int:
        """How many lines have been lost."""
        return self._dropped_before + self._output.dropped

    def flush(self, timeout: float) -> bool:
        """Wait until everything is written; False if it is not within `timeout` seconds."""
        return self._output.flush(timeout)

    def close(self) -> None:
        """Write out what is buffered, for a bounded time, and close."""
        self._output.close()
