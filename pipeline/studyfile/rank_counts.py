"""How many ranks a trial has, from ``trial.ranks``, ``trial.nodes`` and ``trial.ranks_per_node``.

A rank is one process of a trial that runs on several, as in MPI and ``torch.distributed``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...grammar import count as counted

WITHOUT_LAUNCHER = "none"
"""The value of ``trial.launcher`` with which the worker itself starts the ranks of a trial on one node."""

TRIAL_LAUNCHERS = (WITHOUT_LAUNCHER, "srun", "mpiexec", "aprun")
"""The values of ``trial.launcher``."""


@dataclass(frozen=True)
class RankCounts:
    """The ranks of a trial.

    Attributes:
        ranks: In all.
        per_node: On each of its nodes.
    """

    ranks: int = 1
    per_node: int = 1


class SizeProblem(ValueError):
    """A trial takes what no trial can, or has ranks that its nodes cannot have. The message is the end of a sentence.

    Attributes:
        key: The key below ``trial:`` that says so.
    """

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key

    def __str__(self) -> str:
        return f"trial.{self.key}: {self.args[0]}"


def rank_counts(nodes: int, ranks: int | None, ranks_per_node: int | None) -> RankCounts:
    """The ranks of a trial.

    Args:
        nodes: Its nodes.
        ranks: Its ranks in all, where they are given.
        ranks_per_node: Its ranks on each node, where they are given.

    Raises:
        SizeProblem: The numbers do not agree, or the ranks cannot be spread evenly.

    >>> rank_counts(2, None, 4), rank_counts(1, 4, None), rank_counts(2, None, None)
    (RankCounts(ranks=8, per_node=4), RankCounts(ranks=4, per_node=4), RankCounts(ranks=2, per_node=1))
    """
    if ranks is None:
        per_node = ranks_per_node or 1
        return RankCounts(nodes * per_node, per_node)
    if ranks % nodes:
        raise SizeProblem("ranks", f"must be a multiple of nodes, but is {ranks} on {counted(nodes, 'node')}")
    if ranks_per_node is not None and ranks != nodes * ranks_per_node:
        product = f"{counted(nodes, 'node')} with ranks_per_node: {ranks_per_node} have {nodes * ranks_per_node}"
        raise SizeProblem("ranks", f"is {ranks}, but {product}; leave one of the two out")
    return RankCounts(ranks, ranks // nodes)
