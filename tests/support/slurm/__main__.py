"""``python -m tests.support.slurm start`` and ``stop``: a Slurm for trying things out by hand."""

import sys

from .lab import Lab
from .places import Place


def main(words: list[str]) -> None:
    if words == ["start"]:
        lab = Lab(keep=True)
        print(
            f"Its nodes reach this machine at {lab.head}. To use it:\nexport SLURM_CONF={lab.environment['SLURM_CONF']}"
        )
    elif words == ["stop"]:
        for place in Place.kept():
            place.end()
    else:
        sys.exit("python -m tests.support.slurm start|stop")


main(sys.argv[1:])
