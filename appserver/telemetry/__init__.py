"""Telemetry: what the server says about itself.

This package owns three ways out of a process, none of which may ever slow down or stop the serving of requests:

- the *scoreboard*, a shared memory mapping in which every worker counts and from which anybody reads (`scoreboard`, with
  its layout as one table in `layout`); `metrics` writes it out for Prometheus;
- the *log*, one form of record for the server, the application and its libraries (`logs`; the loggers of the server itself are in
  `structured`, and what is done to the application's libraries waits until somebody imports them, `importing`);
- the *access log*, one line per request, with a path of its own because it is written so often (`access_log`).

Figures for people, in a terminal and on the status page, are in `figures`.

It must not know what a worker, a connection or a master is: it is told numbers and words. It never imports asyncio.

Start reading at `layout` for the numbers, and at `logs`, then `output`, for the words.
"""
