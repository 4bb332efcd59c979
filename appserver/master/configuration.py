"""The configuration that a generation is made from (settings, policy, certificates), and those that are in use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appserver.errors import Problem, SettingsError
from appserver.master import activation
from appserver.master.certificates import Certificates
from appserver.master.cpus import available_cpus
from appserver.master.interpreter import options
from appserver.settings import SECRET_VARIABLES, Loaded, Settings, differences, read_env_file
from appserver.supervision.policy import Policy

# Settings that a running server cannot change, each with the reason.
FIXED = {
    "admin.pid_file": "whoever watches the server knows it by this file",
    "metrics.buckets": "the counts in the old buckets cannot be put into new ones",
}

NOT_PASSED_ON = {*activation.VARIABLES, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in which the application is imported.

    `-P` keeps the current directory off the module path while appserver itself is imported: a `queue.py` beside the
    application must not replace the standard library's. The options of this interpreter are those of the other one.
    """
    return [sys.executable, *options(sys.orig_argv), "-P", "-m", module, *arguments]


@dataclass(frozen=True, slots=True)
class Configuration:
    """One accepted load of the settings, with what it names: the policy that follows on this machine, and certificates."""

    loaded: Loaded
    policy: Policy
    certificates: Certificates | None = None

    @classmethod
    def of(cls, loaded: Loaded) -> Configuration:
        """Make one for settings that have just been loaded; reads certificates. Raises SettingsError."""
        return cls.again(loaded, Certificates.of(loaded))

    @classmethod
    def again(cls, loaded: Loaded, certificates: Certificates | None) -> Configuration:
        """Make one for settings whose certificates have been read."""
        return cls(loaded, Policy.from_settings(loaded.settings, cpus=available_cpus()), certificates)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def environment(self) -> dict[str, str]:
        """The environment of the generation's processes: this process's, with `app.env_file` over it.

        What a service manager has said to the master, and to nobody else, is left out (sd_notify(3), sd_listen_fds(3)),
        and so are the secrets of the settings, which the application and whatever it starts could read.
        Raises SettingsError when the file cannot be read (any more).
        """
        path = self.settings.app.env_file
        own = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        environment = {**own, **(read_env_file(path) if path else {})}
        return {name: value for name, value in environment.items() if name not in SECRET_VARIABLES}


class Configurations:
    """The configurations in use: of what serves, of what is wanted next, and of each generation.

    A reload sets `wanted`; a generation that is begun is made from it, and `adopt` or `take_back` follows when the reload
    has ended.
    """

    def __init__(
        self,
        serving: Configuration,
        wanted: Configuration | None = None,
        generations: Mapping[int, Configuration] | None = None,
    ) -> None:
        """Begin with one for everything, or go on with what the program before this one has left."""
        self.serving = serving
        self.wanted = serving if wanted is None else wanted
        self._generations = dict(generations or {})

    def of_generation(self, number: int) -> Configuration:
        """The configuration of a generation; a generation that is new is made from what is wanted."""
        return self._generations.setdefault(number, self.wanted)

    def adopt(self, generation: int) -> None:
        """Let what this generation was made from be what serves."""
        self.serving = self._generations[generation]

    def take_back(self, generation: int | None) -> None:
        """Want again what serves, unless a later reload wants something else than this generation was made from."""
        if generation is None or self.wanted is self._generations[generation]:
            self.wanted = self.serving

    def keep(self, living: Iterable[int]) -> None:
        """Forget the generations that are not among these."""
        self._generations = {number: self._generations[number] for number in living if number in self._generations}

    def generations(self) -> dict[int, Configuration]:
        """The configuration of each generation that has been begun and not been forgotten."""
        return dict(self._generations)

    def certificates(self) -> dict[int, Certificates | None]:
        """The certificates that each of these generations uses."""
        return {number: configuration.certificates for number, configuration in self._generations.items()}


def refuse_beyond(capacity: int, policy: Policy) -> None:
    """Raise SettingsError if there are to be more workers than the scoreboard, made at the start, has places for."""
    room = capacity - policy.surge
    if room < 1:
        message = f"there is room for {capacity} workers, all in all, until the server is started anew: restart it"
        raise SettingsError([Problem("reload", "reload.surge", str(policy.surge), message)])
    if policy.count > room:
        message = f"there is room for {room} workers until the server is started anew: restart it"
        raise SettingsError([Problem("reload", "workers.count", str(policy.count), message)])


def refuse_fixed(old: Settings, new: Settings) -> None:
    """Raise SettingsError, with every one of them, if a setting differs that cannot change while the server runs."""
    problems = [
        Problem(
            "reload",
            change.key,
            str(change.new),
            f"cannot change while the server runs: {FIXED[change.key]}; restart it",
        )
        for change in differences(old, new)
        if change.key in FIXED
    ]
    if problems:
        raise SettingsError(problems)
