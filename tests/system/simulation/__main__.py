"""``python -m tests.system.simulation``: runs any number of seeds.

Each failure is one line with the command that replays it.
."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from . import check, prepare, replay_command, template
from .run import DRAWS


def seeds_of(text: str) -> Iterable[int]:
    """``A:B``, ``A:`` (without an end) or ``N``."""
    first, colon, last = text.partition(":")
    if not colon:
        return [int(first)]
    return range(int(first), int(last)) if last else itertools.count(int(first))


def memory() -> str | None:
    """A folder in memory: the databases of seeds need not survive a crash of the machine."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.system.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:1000", help="FIRST:LAST, FIRST: without an end, or one seed to replay")
    parser.add_argument("--blocks", action="store_true", help="on blocks with walltimes")
    parser.add_argument("--hours", action="store_true", help="on blocks that a budget in node-hours pays")
    parser.add_argument("--ends", action="store_true", help="on large blocks, which the last trials may leave")
    parser.add_argument("--sized", action="store_true", help="only the seeds whose trials differ in size")
    arguments = parser.parse_args()
    prepare()
    option = next((f"--{name}" for name in ("hours", "ends", "blocks") if getattr(arguments, name)), "")
    of = DRAWS[option]
    seeds, saw, failures, began = seeds_of(arguments.seeds), Counter[str](), 0, time.monotonic()
    with TemporaryDirectory(dir=memory(), prefix="simulation-") as name:
        path = template(Path(name))
        try:
            for seed in seeds:
                if arguments.sized and of(seed).sizes is None:
                    continue
                try:
                    saw += check(of(seed), path, Path(name)).saw
                except Exception as error:
                    failures += 1
                    print(f"{replay_command(seed, option)}: {type(error).__name__}: {error}", flush=True)
                    if ":" not in arguments.seeds:
                        print(of(seed))
                        traceback.print_exc()
        except KeyboardInterrupt:
            pass
    seconds = time.monotonic() - began
    print("\n".join(f"{count:10,} {what}" for what, count in sorted(saw.items())))
    print(f"{failures} failed; {1000 * seconds / max(1, saw['seeds'] + failures):.0f} ms a seed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
