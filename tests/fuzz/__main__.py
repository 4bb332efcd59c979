"""`python -m tests.fuzz [--seconds N] [TARGET ...]`: fuzz for so many seconds each; the exit code is 1 on a finding.

A finding is a traceback and a file with the octets that lead to it, in the current directory; give that file to
`python -m tests.fuzz --replay FILE TARGET` to see it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz for a bounded time.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all, or some of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="call the targets with these octets only")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}")
    names = arguments.targets or list(TARGETS)
    if arguments.replay:
        for name in names:
            TARGETS[name].examine(arguments.replay.read_bytes())
        return 0
    outcomes = {name: run(name, arguments.seconds) for name in names}
    for name, code in outcomes.items():
        print(f"{name}: {'nothing found' if code == 0 else f'exit code {code}'}")
    return int(any(outcomes.values()))


def run(name: str, seconds: int) -> int:
    """Fuzz one target in a process of its own; returns its exit code."""
    with tempfile.TemporaryDirectory() as directory:
        for number, octets in enumerate(TARGETS[name].seeds):
            Path(directory, f"seed-{number:04}").write_bytes(octets)
        command = [sys.executable, "-m", "tests.fuzz.guided", name, directory, str(seconds)]
        return subprocess.run(command, check=False, timeout=2 * seconds + 120).returncode


if __name__ == "__main__":
    sys.exit(main())
