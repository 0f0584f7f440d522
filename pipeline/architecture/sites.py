"""The sites of a search space: parameters that change together when a configuration is mutated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .graph import Graph


@dataclass(frozen=True)
class Site:
    """A place where a configuration can change.

    Attributes:
        names: Its parameters.
        joint: What can stand there: for each possibility, the values of those parameters that it needs. None where the
            site is one parameter, which can have any of its values.
    """

    names: tuple[str, ...]
    joint: tuple[Mapping[str, Any], ...] | None = None

    def current(self, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What stands there in a configuration; None where it has none of the possibilities.

        >>> site = Site(("op", "units"), ({"op": "identity"}, {"op": "dense", "units": 16}))
        >>> site.current({"op": "identity", "units": 16})
        {'op': 'identity'}
        """
        found = (each for each in self.joint or () if all(params.get(name) == value for name, value in each.items()))
        return next(found, None)


def sites_of(names: Iterable[str], graphs: Mapping[str, Graph]) -> list[Site]:
    """The sites of a space: each operation of a graph with its arguments, and every other parameter by itself.

    Args:
        names: The space's parameters.
        graphs: Its graphs by name.
    """
    together = {site.names[0]: site for name, graph in graphs.items() for site in _joint_sites(name, graph)}
    members = {name for site in together.values() for name in site.names}
    return [together.get(name, Site((name,))) for name in names if name in together or name not in members]


def _joint_sites(name: str, graph: Graph) -> Iterator[Site]:
    for slot in graph.slots(name):
        if len(slot.variables) > 1:
            yield Site(tuple(variable.name for variable in slot.variables), slot.joint)
