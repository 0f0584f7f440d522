"""Imports only as much of Parsl as is used.

``import parsl`` loads all executors, providers and its monitoring, and SQLAlchemy with it, whatever part is wanted.
Where this module was imported first, the ``__init__`` of Parsl's packages runs when something that it defines is first
asked for; modules inside them are imported as always. ``requests``, of which Parsl uses nothing here, is treated in the
same way. Parsl's run-time checks of types by ``typeguard`` are left out, and its monitoring, which Pilotune does not
use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import FrameType, ModuleType
from typing import Any

LATER = frozenset(
    {"parsl", "parsl.executors", "parsl.monitoring", "parsl.providers", "parsl.data_provider", "requests", "typeguard"}
)
"""Packages whose ``__init__`` runs only when it is needed."""


def _unchecked(function: Any) -> Any:
    return function


class _NoMonitoring:
    """Stands for Parsl's MonitoringHub in its checks of types."""


FOR_PARSL = {("typeguard", "typechecked"): _unchecked, ("parsl.monitoring", "MonitoringHub"): _NoMonitoring}
"""What Parsl's own modules get in place of something that would have to be loaded."""

ELSEWHERE = {
    ("parsl", "__version__"): "parsl.version:VERSION",
    ("parsl.executors", "HighThroughputExecutor"): "parsl.executors.high_throughput.executor:HighThroughputExecutor",
    ("parsl.providers", "LocalProvider"): "parsl.providers.local.local:LocalProvider",
}
"""Names that an ``__init__`` takes from a module, and where it finds them, so that it need not run for these."""


class _Later(ModuleType):
    """A package that has not run its ``__init__`` yet. The first attribute that it lacks makes it do so."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(name)
        if (self.__name__, name) in FOR_PARSL and _asked_by_parsl():
            return FOR_PARSL[self.__name__, name]
        if (self.__name__, name) in ELSEWHERE:
            module, _, defined = ELSEWHERE[self.__name__, name].partition(":")
            return getattr(import_module(module), defined)
        inside = f"{self.__name__}.{name}"
        if inside in sys.modules or PathFinder.find_spec(inside, self.__path__) is not None:
            return import_module(inside)
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None
        assert isinstance(self.__spec__.loader, _Loader)
        self.__spec__.loader.real.exec_module(self)
        try:
            return getattr(self, name)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


class _Loader:
    """Makes a package without running its ``__init__``."""

    def __init__(self, real: Any):
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Finder:
    """Stands first in ``sys.meta_path``."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in LATER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


def _asked_by_parsl() -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("importlib"):
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "parsl"


sys.meta_path.insert(0, _Finder)
