"""Runs the real campaign, its loop and the record on simulated machines, one seed a run, and checks invariants.

Drivers are killed or suspended between any two steps, statements fail before or after they are executed, clocks are
set, outcomes on disk are corrupt, two drivers work on one study, and workers outlive their drivers.

``python -m tests.system.simulation --seeds 0:100000`` from the repository root searches further than the tests do,
``--seeds 0:`` until it is interrupted; with ``--blocks`` the workers are those of blocks with walltimes, with
``--ends`` the last trials may leave large blocks, and ``--sized`` leaves out seeds whose trials are all of one size.
``--seeds 17`` replays a seed to the last bit.
"""

from .cases import Case
from .checks import check_end
from .database import copy, template
from .run import Found, check, prepare, replay_command
from .world import World

__all__ = ["Case", "Found", "World", "check", "check_end", "copy", "prepare", "replay_command", "template"]
