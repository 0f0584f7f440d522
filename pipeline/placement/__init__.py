"""Placement: which pool gets which trial, and what it costs.

:class:`Costs` learns the seconds and the peak memory of trials from their parameters and pools, by the regression of
:mod:`.regression` on the columns of :mod:`.features`. :mod:`.planner` groups trials into kinds (:mod:`.kinds`) and
solves a linear program for the share of each pool's time that a kind should get (:mod:`.shares`). :class:`Placement`
holds what waits, and tells a freed worker what to run: by these shares (:mod:`.learned`), first-come, or by SHADHO's
rule (:mod:`.shadho`).

Nothing here reads a clock, draws random numbers or imports another room. All is rebuilt from the attempts that are
noted and the trials that are put.
"""

from ..placement_policies import POLICIES
from .costs import Costs, Prediction
from .policy import Placement
from .table import ClosedPool, PlanKind, PlanTable
from .waiting import PoolRoom

__all__ = ["POLICIES", "ClosedPool", "Costs", "Placement", "PlanKind", "PlanTable", "PoolRoom", "Prediction"]
