"""The zygote's program: `python -m appserver.worker CHANNEL BOOT [THREAD …]`, started by the master only.

CHANNEL is the inherited descriptor of the channel to the master, BOOT that of an anonymous file with the `ZygoteBoot`.
A THREAD names what an earlier attempt to preload left behind; with one given, nothing is preloaded.
"""

from __future__ import annotations

import sys

from appserver.worker.messages import Channel, ZygoteBoot
from appserver.worker.zygote import Zygote


def main(arguments: list[str]) -> int:
    """Run a zygote until the master lets go of it; returns its exit code."""
    channel, boot = int(arguments[0]), int(arguments[1])
    with open(boot, "rb") as file:
        file.seek(0)
        text = file.read().decode()
    return Zygote(Channel.from_fd(channel), ZygoteBoot.load(text), threads=tuple(arguments[2:])).run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
