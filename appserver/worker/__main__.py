"""The zygote's program, started by the master only: `python -m appserver.worker CHANNEL BOOT [--without-preload]`.

CHANNEL is the inherited descriptor of the channel to the master, BOOT that of an anonymous file with the `ZygoteBoot`.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run a zygote until the master lets go of it, and exit."""
    # Imported modules stay: the collector would look through all of it several times and find nothing. Frozen, it is not
    # written to by the collector of a worker either, and goes on being shared with it.
    gc.disable()
    from appserver.worker.ending import end_zygote
    from appserver.worker.messages import WITHOUT_PRELOAD, Channel, ZygoteBoot
    from appserver.worker.zygote import Zygote, exit_with

    gc.freeze()
    gc.enable()

    def run() -> int:
        channel, boot = map(int, sys.argv[1:3])
        with open(boot, "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            text = file.read().decode()
        may_preload = WITHOUT_PRELOAD not in sys.argv
        return Zygote(Channel.from_fd(channel), ZygoteBoot.load(text), may_preload=may_preload).run()

    exit_with(run, end_zygote)


if __name__ == "__main__":
    main()
