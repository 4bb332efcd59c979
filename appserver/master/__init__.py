"""The master: the process that holds the listening sockets, the scoreboard and the truth about the workers.

It never imports the application, so nothing that the application does can crash, block or compromise it. It decides
nothing either: it reports what happened to `supervision.Supervisor` as events and performs the actions that come back.
Everything it does is an event with a deadline; there is no waiting loop in it.

    program.run     settings → listeners → event loop → exit code
    master.Master   the shell around the supervisor: events in, actions out
    configuration   what a generation is made from: settings, policy, certificates
    process_table   the processes below: zygotes, workers (one handle each), observation of how they are
    conversation    what those may say, and when; hearing: reading it, as hostile input
    children        the kernel's side: subreaper, pidfds, exit statuses
    listeners       keeping the listening sockets over reloads; binding: making one; activation: those that systemd passes
    admin           the addresses for watching and control; view: what they show; reload_outcomes: how reloads ended
    upgrade         replacing the program in place; handover: what the old one tells the new one
    notify          what the service manager is told
    host            what the machine has to have; belongings: files that are given to the user of the workers

Of `worker` it knows nothing but `worker.messages`.
"""

from __future__ import annotations

from appserver.master.program import check_take_over, run, take_over
from appserver.master.upgrade import FIT, Command

__all__ = ["FIT", "Command", "check_take_over", "run", "take_over"]
