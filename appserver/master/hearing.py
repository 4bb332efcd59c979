"""The master's end of a channel to a process that it does not trust."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from appserver.errors import ChannelError
from appserver.worker.messages import Channel, Message, decode

# A process whose channel has ended is about to exit. One that is still there so many seconds later has closed it itself:
# it could not be asked to do anything any more.
EXIT_DELAY = 5.0


class Hearing:
    """Reads what one process says, for as long as it keeps to its turns.

    `hear` is called with each message (None: one of a type that this version does not know) and raises ChannelError if
    it is not due. Then, and for anything that is no message, nothing of that process is read ever again, and `distrust`
    is called once with what was wrong. `lost` is called once when the process has closed its end.
    """

    def __init__(
        self,
        channel: Channel,
        loop: asyncio.AbstractEventLoop,
        hear: Callable[[Message | None], None],
        distrust: Callable[[str], None],
        lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._loop = loop
        self._hear = hear
        self._distrust = distrust
        self._lost = lost
        self._reading = True
        self._open = True
        channel.set_blocking(False)
        loop.add_reader(channel.fileno(), self.read)

    def fileno(self) -> int:
        return self._channel.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send an order. Raises OSError when the process is gone, or does not read its channel."""
        if not self._open:
            raise BrokenPipeError("the channel is closed")
        self._channel.send(message, descriptors)

    def read(self) -> None:
        """Hear all that is there. It is never much: a conversation has a bounded number of turns."""
        while self._reading:
            try:
                data = self._channel.receive_report()
                if data is None:
                    self._stop_reading()
                    self._lost()
                else:
                    self._hear(decode(data))
            except BlockingIOError:
                return
            except ChannelError as error:
                self._stop_reading()
                self._distrust(str(error))

    def close(self) -> None:
        """Close the channel: to the process, the master is gone."""
        self._stop_reading()
        if self._open:
            self._open = False
            self._channel.close()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._channel.fileno())
