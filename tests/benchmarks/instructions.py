"""How many instructions a request costs: `python -m tests.benchmarks.instructions`.

Unlike times they are the same on a busy machine, to about a tenth of a percent, so they tell what a change of some lines has
given. valgrind (the Debian package of that name) counts those of `loop` for two numbers of requests; their difference is
what the requests cost, and what Python needs to start is not in it. Requests that vary are among the rows, because the same
request over and over again flatters whatever remembers it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks.loop import ROWS
from tests.benchmarks.servers import ROOT

FEW, MANY = 200, 2200
"""Their difference is once all that are different."""


def count(python: str, row: str, requests: int) -> int:
    """Instructions of a whole run."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", python]
    command += ["-m", "tests.benchmarks.loop", row, str(requests)]
    # The order of sets and dictionaries is that of the hashes, which are others in every process otherwise.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.instructions", description=__doc__)
    parser.add_argument("rows", nargs="*", default=list(ROWS), help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter, with appserver's requirements")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    if shutil.which("valgrind") is None:
        sys.exit("counting instructions needs valgrind (Debian package valgrind)")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row in options.rows:
            few, many = pool.map(lambda requests, row=row: count(options.python, row, requests), (FEW, MANY))
            print(
                f"{row:<12} {(many - few) / (MANY - FEW) / 1000:8.2f} thousand instructions for a request", flush=True
            )


if __name__ == "__main__":
    main()
