"""Supervision decides, and touches nothing.

The whole process manager as a pure function of what happened: `Supervisor.handle(event, now)` returns the actions to perform.
It owns the truth about zygotes and workers, the deadlines of everything, and every policy: back-off, reload with roll-back,
recycling, stalls, scaling, the way to the end. It must not know asyncio, os, socket, signal or time: what happens comes in as
events, the clock and chance are passed in, and what is to be done goes out. So thousands of random worlds can be played
through in seconds, and are, in `tests/simulation`.

Start reading at the edges, then go down:

    events, actions    the two languages spoken with the master
    policy             the numbers, from the settings
    supervisor         an event in, its meaning, what follows, actions out
    slots              what is wanted: fill, replace, hand over, scale
    reload, shutdown   the two transactions: to the next generation, and to the end
    watch              blocked loops, recycling, and a master that was itself suspended
    processes, states  what is: one table of transitions each for workers and zygotes, and what entering a state orders
    records            all of the state, as plain data; snapshot writes it out and reads it back
    backoff, recycling, exits    policies and words on their own
"""
