"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import pilotune

PROGRAMS = ("pilotune.pipeline.cli.templates",)
"""Files that are shipped as text."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ROOMS = ("pipeline", "providers", "objectives")
PACKAGE = Path(pilotune.__file__).parent


def modules_with_examples() -> list[str]:
    """Names of the package's modules that hold a ``>>>``. Only those are imported."""
    files = [*PACKAGE.glob("*.py"), *(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))]
    names = []
    for path in files:
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE).with_suffix("").parts
            names.append(".".join(["pilotune", *(part for part in parts if part != "__init__")]))
    return sorted(name for name in names if not name.startswith(PROGRAMS))


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).attempted > 0, f"{name} has no example that runs"
    assert not runner.failures, "".join(report)


def test_every_module_can_be_imported() -> None:
    """A module that only a lazy import reaches is imported by nobody else."""
    skipped = (*PROGRAMS, "pilotune.tests", "pilotune.benchmarks")
    for room in ROOMS:
        package = importlib.import_module(f"pilotune.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"pilotune.{room}."):
            if not found.name.startswith(skipped) and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
