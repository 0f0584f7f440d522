"""Makes ``optuna_integration.TorchDistributedTrial`` take the trial that each rank has.

Optuna gives it a trial on rank 0 and None on the others, and a script's ``main`` has called ``init_process_group``
before. Here every rank is called with its trial, and there is no such ``main``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

MODULE = "optuna_integration.pytorch_distributed.pytorch_distributed"
"""Where the class is."""


def accept_trials() -> None:
    """Change the class in this process, now or when it is imported."""
    module = sys.modules.get(MODULE)
    if module is not None:
        _change(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _change(module: ModuleType) -> None:
    kind = getattr(module, "TorchDistributedTrial", None)
    dist: Any = getattr(module, "dist", None)  # without torch, the class itself says so
    if kind is None or dist is None or getattr(kind, "takes_trials_of_pilotune", False):
        return
    original = kind.__init__

    def begin(self: Any, trial: Any, group: Any = None) -> None:
        if group is None and not dist.is_initialized():
            dist.init_process_group()
        original(self, trial if dist.get_rank(group) == 0 else None, group)

    kind.__init__ = begin
    kind.takes_trials_of_pilotune = True


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the class's module as usual, and has it changed after its import."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _change(module)
