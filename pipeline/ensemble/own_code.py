"""Imports the Python files of a saved ensemble, so that a program may use several ensembles, and files of its own.

Two ensembles often have files of equal names, ``model.py``, and so has the folder in which a program runs. While a
member predicts, these names mean the ensemble's files; afterwards they mean what they meant before.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


class OwnCode:
    """The Python files in some folders.

    Args:
        folders: They are searched in this order; those that do not exist are left out.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(dict.fromkeys(folders))
        self._imported: dict[str, ModuleType] = {}  # while it is not in use

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, modules are searched in the folders first, whatever was imported from elsewhere.

        It changes ``sys.path`` and ``sys.modules`` while it lasts, so other threads should not import meanwhile.
        """
        places = [str(folder) for folder in self._folders if folder.is_dir()]
        names = {name for place in places for name in _names(place)}
        others = _taken(names)
        importlib.invalidate_caches()
        sys.modules.update(self._imported)
        sys.path[:0] = places
        try:
            yield
        finally:
            for place in places:
                if place in sys.path:
                    sys.path.remove(place)
            self._imported = _taken(names)
            sys.modules.update(others)


def _names(folder: str) -> Iterator[str]:
    """The modules and packages in a folder. The standard library's are not replaced: they are imported already."""
    for name in os.listdir(folder):
        module = name.removesuffix(".py")
        if module.isidentifier() and module not in sys.stdlib_module_names:
            yield module


def _taken(names: Collection[str]) -> dict[str, ModuleType]:
    """Remove the modules of these names, and what is in them, from those that are imported, and return them."""
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}
