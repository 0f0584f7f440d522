"""A contract for import-linter: no module of the package imports itself, however long the way round.

Imports inside functions and under ``TYPE_CHECKING`` count: both make a reader go round in a circle.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class AcyclicModules(Contract):
    """Fails when modules of the root package import each other in a circle, and prints one such circle."""

    type_name = "acyclic_modules"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        return ContractCheck(kept=not (found := circle(graph)), metadata={"circle": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        output.print_error(" imports ".join(check.metadata["circle"]))


def circle(graph: Any) -> list[str]:
    """The modules of one circle, the first one again at its end; empty where there is none."""
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))  # graphlib names what comes first, first
    return []
