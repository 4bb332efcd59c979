"""Drawing worlds: from a seed to a policy, a script and a world that is ready to be played."""

from __future__ import annotations

import random
from dataclasses import replace

from appserver.supervision.policy import Policy
from appserver.supervision.supervisor import Supervisor
from tests.simulation.invariants import Ledger
from tests.simulation.world import Script, World


def draw_policy(chance: random.Random) -> Policy:
    """Draw a policy with short times, so that much happens in a short life."""
    return Policy(
        count=chance.randrange(1, 5),
        boot_timeout=chance.choice((2.0, 4.0)),
        graceful_timeout=chance.choice((0.0, 1.0, 3.0)),
        lifespan_timeout=0.5,
        stall_report=chance.choice((0.0, 4.0)),
        stall_timeout=chance.choice((0.0, 5.0, 7.0)),
        max_requests=chance.choice((0, 0, 150)),
        max_requests_jitter=50,
        max_lifetime=chance.choice((0.0, 0.0, 12.0)),
        surge=chance.choice((1, 1, 2, 3)),
        soak=chance.choice((0.0, 0.0, 1.5)),
        reload_linger=0.5,
        shutdown_delay=chance.choice((0.0, 0.0, 1.5)),
        shutdown_linger=0.2,
        capacity=chance.choice((8, 12, 64)),
    )


def draw_script(chance: random.Random) -> Script:
    """Draw a script: some worlds have one trouble, some have them all, some are only asked a lot."""
    common = Script(
        duration=80.0,
        calm=0.25,
        stop=chance.choice((0.0, 1.0)),
        early_stop=0.2,
        second_stop=0.2,
        stop_at_once=0.2,
    )
    asked = replace(
        common,
        reloads=chance.randrange(4),
        scalings=chance.randrange(3),
        re_execs=chance.randrange(2),
        suspensions=chance.choice((0, 0, 0, 1, 2)),
    )
    fates = (6.0, 1.0, 1.0, 1.0, 1.0)
    troubled_boots = replace(
        asked,
        zygote_fates=fates,
        worker_fates=fates,
        broken_generation=0.25,
        slow_drain=0.4,
        ignored_drain=0.15,
    )
    troubled = replace(
        troubled_boots,
        delay=chance.choice((0.0, 0.02, 0.5)),
        crash=0.3,
        block=0.2,
        slow_reap=0.2,
        unreapable=chance.choice((0.0, 0.0, 0.03)),
        zygote_death=0.3,
        zygote_deafness=0.1,
    )
    taken_over = replace(
        troubled_boots,
        hostile_worker=0.3,
        hostile_zygote=0.7,
        zygote_death=0.5,
        reloads=1 + chance.randrange(4),
        delay=chance.choice((0.0, 0.02, 0.5)),
    )
    first_boot_in_doubt = replace(
        common, zygote_fates=(3.0, 1.0, 1.0, 1.0, 1.0), worker_fates=(3.0, 1.0, 1.0, 1.0, 1.0), first_boot_well=False
    )
    crash_loop = replace(common, early_stop=0.0, crash_loop=True)
    poison = replace(common, early_stop=0.0, poison=True)
    return chance.choice(
        (asked, troubled_boots, troubled, troubled, taken_over, taken_over, first_boot_in_doubt, crash_loop, poison)
    )


def make_world(seed: int, script: Script | None = None) -> World:
    """Draw the world of a seed, with a script of its own unless one is given."""
    chance = random.Random(seed)
    policy = draw_policy(chance)
    supervisor = Supervisor(policy, random=random.Random(seed).random)
    return World(seed, script or draw_script(chance), policy, supervisor, Ledger(), draw_policy)
