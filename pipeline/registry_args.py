"""Registries of what a study file chooses by name (samplers, pruners, objectives), and checks of its arguments."""

from __future__ import annotations

import importlib
import inspect
import math
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning

from ..errors import UserError
from ..fields import shown
from ..yamlfile import nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Named:
    """A sampler or pruner as a study file names it.

    Attributes:
        name: The short name (``tpe``, ``hyperband``).
        args: The arguments beside it.
    """

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One thing that can be chosen by name.

    Attributes:
        module: Where it is defined; with a leading dot, relative to the registry's package.
        attribute: The class or function in that module.
        summary: What it is, in one line.
        distribution: The installed package that adds it, as in ``acme 1.0``; None for Pilotune's own.
    """

    module: str
    attribute: str
    summary: str
    distribution: str | None = None


class Registry:
    """What can be chosen by name: a table of Pilotune's own, and what installed packages add as entry points.

    A package adds to it by declaring an entry point in the registry's group; in its pyproject.toml::

        [project.entry-points."pilotune.samplers"]
        acme = "acme.tuning:AcmeSampler"

    Modules are imported when an entry is loaded. Entry points are read when a name is not in the table, so that a name
    in the table costs nothing and always means Pilotune's own.

    Args:
        kind: What they are, for messages (``sampler``).
        group: The group of entry points (``pilotune.samplers``).
        table: From each short name to its entry.
        package: What relative modules in the table are relative to.
        base: The class that they derive from; None for functions.
        aliases: From other names to short ones.

    Example:
        >>> from optuna.samplers import BaseSampler
        >>> table = {"random": Entry("optuna.samplers", "RandomSampler", "draws at random")}
        >>> registry = Registry("sampler", "pilotune.samplers", table, package="optuna", base=BaseSampler)
        >>> registry.short_name("RandomSampler", key="sampler.name")
        'random'
        >>> registry.load("random", key="sampler.name")
        <class 'optuna.samplers._random.RandomSampler'>
    """

    def __init__(
        self,
        kind: str,
        group: str,
        table: Mapping[str, Entry],
        *,
        package: str,
        base: type | None = None,
        aliases: Mapping[str, str] | None = None,
    ):
        self._kind, self._group, self._table, self._package = kind, group, table, package
        self._base, self._aliases = base, aliases or {}

    def entries(self) -> dict[str, Entry]:
        """All entries by short name: the table, then what installed packages add, sorted by name."""
        added = {}
        for point in sorted(entry_points(group=self._group), key=lambda point: point.name):
            name = _normalized(point.name)
            if name not in self._table and name not in added:
                distribution = _distribution(point)
                summary = f"from the package {distribution}"
                added[name] = Entry(point.module, point.attr, summary, distribution)
        return {**self._table, **added}

    def short_name(self, name: str, *, key: str) -> str:
        """The short name of ``name``, which may be in any case, an alias, or the name of the class.

        Raises:
            UserError: There is none; the message names the nearest one. ``key`` is where ``name`` stands in the file.
        """
        word = _normalized(name)
        if word in self._table:
            return word
        if word in self._aliases:
            return self._aliases[word]
        entries = self.entries()
        if word in entries:
            return word
        for short, entry in entries.items():
            if entry.attribute.lower() in (word, word + self._kind):
                return short
        hint = nearest(name, [*entries, *self._aliases])
        module, dot, cls = name.rpartition(".")
        if dot and cls[:1].isupper():
            hint = f"; a class of another module is written {module}:{cls}"
        raise UserError(f"there is no {self._kind} '{name}'{hint}", key=key)

    def entry(self, name: str) -> Entry | None:
        """The entry with the short name ``name``; None where there is none."""
        return self._table.get(name) or self.entries().get(name)

    def load(self, name: str, *, key: str) -> Any:
        """Import what the short name ``name`` stands for.

        Raises:
            UserError: A package's entry point cannot be imported, or is not derived from ``base``. The message names
                the package.
        """
        entry = self.entry(name)
        if entry is None:
            raise UserError(f"there is no {self._kind} '{name}'{nearest(name, self.entries())}", key=key)
        if entry.distribution is None:
            return getattr(importlib.import_module(entry.module, self._package), entry.attribute)
        where = f"the {self._kind} {name} of the package {entry.distribution}"
        target = f"{entry.module}:{entry.attribute}"
        try:
            found = EntryPoint(name, target, self._group).load()
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{where} cannot be imported from {target}: {said}", key=key) from error
        if self._base is not None and not (isinstance(found, type) and issubclass(found, self._base)):
            base = f"{self._base.__module__.split('._')[0]}.{self._base.__name__}"
            raise UserError(f"{where} cannot be used, since {target} is not a class derived from {base}", key=key)
        return found


def _normalized(name: str) -> str:
    return name.lower().replace("-", "_")


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "of unknown name"


RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "n_startup_trials": (0, math.inf), "n_ei_candidates": (1, math.inf), "popsize": (2, math.inf),
    "population_size": (2, math.inf), "mutation_prob": (0, 1), "crossover_prob": (0, 1), "swapping_prob": (0, 1),
    "dividing_parameter": (1, math.inf),
    "kappa": (0, math.inf), "decay": (0, math.inf), "trees": (1, 1_000), "candidates": (1, 100_000),
    "min_resource": (1, math.inf), "max_resource": (1, math.inf), "reduction_factor": (2, math.inf),
    "bootstrap_count": (0, math.inf), "min_early_stopping_rate": (0, math.inf), "n_warmup_steps": (0, math.inf),
    "interval_steps": (1, math.inf), "n_min_trials": (1, math.inf), "percentile": (0, 100),
    "patience": (0, math.inf), "min_delta": (0, math.inf), "p_threshold": (0, 1), "n_startup_steps": (0, math.inf),
    "min_n_trials": (1, math.inf), "max_stagnation_trials": (0, math.inf), "warm_up_trials": (0, math.inf),
    "n_initial_trials": (1, math.inf), "top_trials_ratio": (0, 1),
    "population": (2, math.inf), "offspring": (1, math.inf), "sample": (1, math.inf), "mutate": (0, 1),
    "mutate_child": (0, 1), "crossover": (0, 1),
}  # fmt: skip
"""By argument of Optuna's and Pilotune's samplers, pruners and terminators, its least and its largest value."""

ABOVE_ZERO = ("sigma0", "threshold_ratio", "step")
"""Arguments of these that must be above 0."""


def check_arguments(
    cls: type, args: Mapping[str, Any], *, name: str, key: str, offered: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Check the names, types and ranges of ``args``, the names and types against the signature of ``cls``.

    Args:
        name: The short name of ``cls``, for messages.
        key: Where ``args`` stand in the file.
        offered: As in :func:`arguments`.

    Returns:
        The arguments as ``cls`` takes them: a whole number that is written as 1e3 is an int where it takes one.

    Raises:
        UserError: An argument is unknown, cannot be given in a file, or has a value of the wrong type or range.
    """
    taken, checked = arguments(cls, offered), whole_numbers(cls, args, offered)
    for argument, value in checked.items():
        if argument not in taken:
            message = f"{name} has no argument '{argument}'{nearest(argument, taken)}"
            raise UserError(message, key=f"{key}.{argument}")
        problem = "" if fits(value, taken[argument]) else f"be {in_words(taken[argument])}"
        if (
            not problem
            and isinstance(value, int | float)
            and cls.__module__.partition(".")[0] in ("optuna", "pilotune")
        ):
            problem = _outside(argument, value)
        if problem:
            raise UserError(f"must {problem}, but is {shown(value)}", key=f"{key}.{argument}")
    return checked


def _outside(argument: str, value: float) -> str:
    """What a number that the argument cannot have must be instead; empty for one that it can have.

    >>> _outside("n_ei_candidates", 0), _outside("percentile", 101), _outside("sigma0", 0.0)
    ('be at least 1', 'be from 0 to 100', 'be above 0')
    >>> _outside("lower", math.nan), _outside("lower", -1)
    ('be a finite number', '')
    """
    low, high = RANGES.get(argument, (-math.inf, math.inf))
    if isinstance(value, float) and not math.isfinite(value):
        return "be a finite number"
    if argument in ABOVE_ZERO and value <= 0:
        return "be above 0"
    if low <= value <= high:
        return ""
    return f"be at least {low}" if high == math.inf else f"be from {low} to {high}"


def whole_numbers(cls: type, args: Mapping[str, Any], offered: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``args`` with an int in place of a float that is whole, where ``cls`` takes whole numbers only."""
    taken = arguments(cls, offered)
    return {
        name: int(value)
        if isinstance(value, float) and value.is_integer() and int in taken.get(name, ()) and float not in taken[name]
        else value
        for name, value in args.items()
    }


def arguments(cls: type, offered: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of ``cls`` that a file can give, with their types: those annotated with plain types.

    Args:
        offered: Changes to these: the types of an argument that a file gives in another form, or None for an argument
            that is not offered.
    """
    taken: dict[str, Any] = {}
    if "__init__" in cls.__dict__ or cls.__init__ is not object.__init__:  # type: ignore[misc]
        for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:  # type: ignore[misc]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            kinds = annotated_types(parameter.annotation)
            if kinds:
                taken[parameter.name] = kinds
    for argument, annotation in (offered or {}).items():
        if annotation is None:
            taken.pop(argument, None)
        else:
            taken[argument] = annotation
    return taken


def quietly(make: Callable[..., T], key: str, /, **args: Any) -> T:
    """Call ``make`` without Optuna's warnings that something is experimental: who chose it by name knows.

    Raises:
        UserError: ``make`` raised ValueError or TypeError; the message quotes it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return make(**args)
        except (ValueError, TypeError) as error:
            said = " ".join(str(error).replace("`", "").split()).rstrip(".")
            named, must, rest = said.partition(" must ")  # most of ours say what an argument must be
            if must and named in args:
                raise UserError(f"must {rest}", key=f"{key}.{named}") from None
            raise UserError(f"these arguments are refused: {said}", key=key) from None


_PLAIN: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "None": type(None)}


def annotated_types(annotation: Any) -> tuple[type, ...]:
    """The plain types in an annotation, which Optuna writes as text; empty where there are none but None."""
    if isinstance(annotation, str):
        words = [word.strip() for word in annotation.split("|")]
        if annotation.startswith(("dict", "Callable", "list")):
            return ()
        kinds = tuple(_PLAIN[word] for word in words if word in _PLAIN)
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = tuple(kind for kind in typing.get_args(annotation) if kind in _PLAIN.values())
    else:
        kinds = (annotation,) if annotation in _PLAIN.values() else ()
    return kinds if any(kind is not type(None) for kind in kinds) else ()


def plain_types(annotation: Any) -> tuple[type, ...]:
    """As :func:`annotated_types`; empty where the annotation has other types as well, which a value may be of."""
    if isinstance(annotation, str):
        parts: list[Any] = [_PLAIN.get(word.strip()) for word in annotation.split("|")]
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        parts = list(typing.get_args(annotation))
    else:
        parts = [annotation]
    return annotated_types(annotation) if all(part in _PLAIN.values() for part in parts) else ()


def fits(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value of a file is of one of these plain types; a whole number is a float, true is no number."""
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, kinds)


def in_words(kinds: tuple[type, ...]) -> str:
    """Plain types as the end of a sentence.

    >>> in_words((int, type(None)))
    'a whole number'
    """
    words: dict[type, str] = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
    words |= {dict: "a mapping", list: "a list"}
    return " or ".join(words[kind] for kind in kinds if kind in words)
