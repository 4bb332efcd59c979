"""Sending files by kernel copy: their octets never come into the process, unless they have to be encrypted there."""

from __future__ import annotations

import asyncio
import os
import select

from appserver.engine.file import READ_SIZE, FilePart, shortened
from appserver.engine.link import Link

COPY_SIZE = 1024 * 1024
"""Octets that are copied in one call. A file that is not in memory is read meanwhile, and the event loop waits."""


async def copy_file(link: Link, part: FilePart) -> bool:
    """Send a part of a file behind what has been written.

    Returns True when it is on its way, False when the client is gone. The link may hear of that only later. Raises
    ResponseError if the file ends before, and OSError if it cannot be read.
    """
    copy = _read if link.encrypted else _sendfile
    file, offset, size = part
    try:
        await link.flush()
        while size and not link.is_lost:
            copied = await copy(link, file, offset, size)
            offset += copied
            size -= copied
            if size:
                await asyncio.sleep(0)  # a client on a fast network might never let this wait
        return not size
    finally:
        link.stop_flushing()


async def _sendfile(link: Link, file: int, offset: int, size: int) -> int:
    wanted = min(size, COPY_SIZE)
    try:
        sent = os.sendfile(link.descriptor, file, offset, wanted)
    except BlockingIOError:
        await link.room(size)
        return 0
    except OSError:
        # It does not say which of the two has failed. A socket may with any error that a router has reported: ETIMEDOUT,
        # EHOSTUNREACH, ENETUNREACH (tcp(7)). It is closed then.
        if not link.connected() & (select.POLLERR | select.POLLHUP):
            raise
        link.abort()
        return 0
    if not sent:
        raise shortened()
    link.count_sent(sent)
    if sent < wanted:
        await link.room(size - sent)
    return sent


async def _read(link: Link, file: int, offset: int, size: int) -> int:
    data = os.pread(file, min(size, READ_SIZE), offset)
    if not data:
        raise shortened()
    link.write(data)
    await link.writable()
    return len(data)
