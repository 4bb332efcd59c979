"""Serving an application inside another program's process: no master, no zygote, no workers.

It owns the engine with the application's lifespan inside an event loop that is already running. Its user decides
when that begins and ends: `appserver dev` has one process for everything, so that the terminal belongs to the
application; a test or a notebook has a loop of its own.

    serving      lifespan and engine: `start`, `stop`
    embedding    the same for programs and tests: in a loop that runs, in a thread, until Ctrl-C; arguments: what they take for settings
    development  one life of `appserver dev`; terminal: Ctrl-C and the debugger
"""
