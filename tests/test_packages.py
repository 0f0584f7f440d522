"""Every package is installed: setuptools takes only those that pyproject.toml names."""

from __future__ import annotations

import tomllib
from pathlib import Path

HOME = Path(__file__).parents[1]


def test_pyproject_names_every_package() -> None:
    named = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = [HOME, *(HOME / top for top in ("pipeline", "providers", "objectives"))]
    found = {room for room in rooms if (room / "__init__.py").exists()}
    found |= {file.parent for room in rooms[1:] for file in room.rglob("__init__.py")}
    assert sorted(named) == sorted(".".join(("pilotune", *each.relative_to(HOME).parts)) for each in found)
