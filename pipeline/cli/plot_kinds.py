"""The kinds of plots, for the commands' options, whose help must not import what draws."""

from __future__ import annotations

KINDS = ("history", "pareto", "curves", "importance", "slice", "parallel", "contour", "timeline", "utilization",
         "blocks", "cost")  # fmt: skip
"""The keys of ``analysis.plots.KINDS``, in the same order."""

TEXT = ("history", "pareto", "utilization", "cost")
"""Those that can be drawn in a terminal."""
