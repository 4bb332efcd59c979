"""Zygotes and workers: the processes that hold the application.

A zygote is a fresh interpreter, one per generation. It drops privileges, imports the application if `workers.preload`
asks for it, and forks workers when the master says so. It has one thread and no event loop, which is what makes forking
it safe. A worker runs the event loop, the application's lifespan and the engine.

Workers are forked twice, so that they become children of the master, which is the subreaper of everything below it:
one process reaps, signals and counts them all, and a zygote that dies takes nobody with it.

This package never decides whether a process should live: it does what `messages` from the master say, reports what
happened, and goes by itself when the master is gone. It knows nothing of `master`.

Start reading with `messages`, then `zygote.Zygote`, then `process.Worker`.
"""

from __future__ import annotations
