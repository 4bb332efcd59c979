"""The zygote's program, started by the master only: `python -m appserver.worker CHANNEL BOOT [--without-preload]`.

CHANNEL is the inherited descriptor of the channel to the master, BOOT that of an anonymous file with the `ZygoteBoot`.
"""

from __future__ import annotations

import sys

from appserver.worker.messages import WITHOUT_PRELOAD, Channel, ZygoteBoot
from appserver.worker.zygote import Zygote, exit_with


def main(arguments: list[str]) -> int:
    """Run a zygote until the master lets go of it; returns its exit code."""
    channel, boot = int(arguments[0]), int(arguments[1])
    with open(boot, "rb") as file:
        file.seek(0)
        text = file.read().decode()
    return Zygote(Channel.from_fd(channel), ZygoteBoot.load(text), may_preload=WITHOUT_PRELOAD not in arguments).run()


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
