"""The program of a mom: ``run_mom.py FOLDER JOB``; started with nothing but the standard library at hand."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from emulators.state import Machine

machine = Machine(sys.argv[1])
if machine.read().scheduler == "pbs":
    from emulators.pbs.mom import PbsMom

    PbsMom(machine, int(sys.argv[2])).live()
else:
    from emulators.cobalt.mom import CobaltMom

    CobaltMom(machine, int(sys.argv[2])).live()
