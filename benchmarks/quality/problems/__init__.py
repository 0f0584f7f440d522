"""The problems of the quality benchmark by name, each kept for tuning or for confirming.

Tuning problems and seeds below 100 are for choosing a sampler's constants; confirming problems and the seeds from 100
are for saying how good the result is. A new problem is one :class:`Listed` in the table of a module here.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

from . import conditional, constrained, curves, functions, several, surrogates, tables
from .base import Listed, Noise, Outcome, Params, Problem
from .folder import data_folder

FIRST_CONFIRMING_SEED = 100
FAMILIES: dict[str, dict[str, Listed]] = {
    module.__name__.rpartition(".")[2]: module.PROBLEMS  # type: ignore[attr-defined]
    for module in (tables, curves, surrogates, functions, conditional, constrained, several)
}
PROBLEMS: dict[str, Listed] = {name: listed for family in FAMILIES.values() for name, listed in family.items()}


def names_of(confirming: bool) -> list[str]:
    """The problems for confirming, or those for tuning."""
    return [name for name, listed in PROBLEMS.items() if listed.confirming == confirming]


def seeds_of(confirming: bool, count: int) -> range:
    """The first `count` seeds for confirming, or for tuning, of which there are a hundred.

    Raises:
        ValueError: More tuning seeds are asked for than there are.
    """
    if not confirming and count > FIRST_CONFIRMING_SEED:
        raise ValueError(f"there are {FIRST_CONFIRMING_SEED} tuning seeds; those from there on are for confirming")
    start = FIRST_CONFIRMING_SEED if confirming else 0
    return range(start, start + count)


def missing(name: str) -> str | None:
    """Why the problem `name` is not available here, in a sentence; None where it is."""
    needs, folder = PROBLEMS[name].needs, data_folder()
    if needs and not folder.is_dir():
        return f"{name} is left out: there is no folder {folder}; set PILOTUNE_DATA to the folder of the data."
    if needs == "onnx" and importlib.util.find_spec("onnxruntime") is None:
        return f"{name} is left out: onnxruntime is not installed (pip install 'pilotune[bench]')."
    return None


def make(name: str) -> Problem:
    """The problem `name`, under that name; its data are read from the folder where it has any."""
    return replace(PROBLEMS[name].make(), name=name)


__all__ = [
    "FAMILIES",
    "PROBLEMS",
    "Listed",
    "Noise",
    "Outcome",
    "Params",
    "Problem",
    "make",
    "missing",
    "names_of",
    "seeds_of",
]
