"""From a sampler's name and arguments to the sampler."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from typing import Any, Protocol

import optuna.samplers as optuna_samplers
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler

from ...errors import UserError
from ...yamlfile import nearest
from ..registry_args import Named, arguments, check_arguments, quietly, short_name
from ..space import Space, cardinality, contains
from .exhaustive import BruteForce, Grid
from .tpe import TPESampler

MAX_GRID = 1_000_000  # Optuna keeps every point of a grid in memory

SAMPLERS: dict[str, type[BaseSampler]] = {
    "tpe": TPESampler,
    "optuna_tpe": optuna_samplers.TPESampler,
    "random": optuna_samplers.RandomSampler,
    "grid": optuna_samplers.GridSampler,
    "qmc": optuna_samplers.QMCSampler,
    "cmaes": optuna_samplers.CmaEsSampler,
    "gp": optuna_samplers.GPSampler,
    "nsgaii": optuna_samplers.NSGAIISampler,
    "nsgaiii": optuna_samplers.NSGAIIISampler,
    "bruteforce": optuna_samplers.BruteForceSampler,
    "partial_fixed": optuna_samplers.PartialFixedSampler,
}
ALIASES = {"cma_es": "cmaes", "nsga2": "nsgaii", "nsga3": "nsgaiii", "brute_force": "bruteforce", "sobol": "qmc"}

_NESTED = (str, dict)  # another sampler: its name, or a mapping with its name and arguments
_DEPRECATED = dict.fromkeys(("consider_prior", "prior_weight", "consider_magic_clip", "consider_endpoints"))
OFFERED: dict[str, dict[str, Any]] = {
    "tpe": {**_DEPRECATED, "warn_independent_sampling": None},
    "optuna_tpe": {**_DEPRECATED, "warn_independent_sampling": None},
    "grid": {"search_space": (dict,)},
    "qmc": {"independent_sampler": _NESTED},
    "cmaes": {
        "independent_sampler": _NESTED,
        "x0": (dict,),
        "restart_strategy": None,
        "popsize": (int,),
        "inc_popsize": None,
    },
    "gp": {"independent_sampler": _NESTED},
    "nsgaii": {"crossover": (str,), "mutation": (str,)},
    "nsgaiii": {"crossover": (str,), "mutation": (str,), "reference_points": (list,)},
    "partial_fixed": {"fixed_params": (dict,), "base_sampler": _NESTED},
}
PACKAGES = {"cmaes": ("cmaes",), "gp": ("scipy", "torch"), "qmc": ("scipy",)}
ONE_DIRECTION = ("cmaes",)
EXHAUSTIVE = ("grid", "bruteforce")
QUIET = {
    "qmc": {"warn_independent_sampling": False, "warn_asynchronous_seeding": False},
    "cmaes": {"warn_independent_sampling": False},
    "gp": {"warn_independent_sampling": False},
}


class _StudyFile(Protocol):
    @property
    def sampler(self) -> Named: ...
    @property
    def space(self) -> Space | None: ...
    @property
    def directions(self) -> tuple[str, ...]: ...
    def error(self, message: str, key: str = "") -> UserError: ...


def sampler_names() -> list[str]:
    """The short names of all samplers."""
    return list(SAMPLERS)


def sampler_name(name: str, *, key: str = "sampler.name") -> str:
    """The short name for ``name``: short, in any case, an alias, or Optuna's class. Raises UserError."""
    return short_name(name, SAMPLERS, ALIASES, key=key)


def sampler_arguments(name: str) -> list[str]:
    """The arguments that the sampler ``name`` takes in a study file."""
    return list(arguments(SAMPLERS[name], OFFERED.get(name)))


def make_sampler(study_file: _StudyFile, *, seed: int | None = None) -> BaseSampler:
    """The sampler that a study file names.

    Args:
        seed: Used instead of the file's ``sampler.seed`` when given: a campaign that goes on must not draw the same
            numbers again.

    Raises:
        UserError: With file, line and key, for arguments that the sampler refuses.
    """
    named = study_file.sampler
    if seed is not None and "seed" in arguments(SAMPLERS[named.name]):
        named = Named(named.name, {**named.args, "seed": seed})
    try:
        return _build(named, study_file.space, study_file.directions, "sampler")
    except UserError as error:
        raise study_file.error(error.message, error.key or "sampler") from None


def check_sampler(named: Named, space: Space | None, directions: tuple[str, ...]) -> None:
    """Raise UserError (its key relative to the study file) when ``named`` cannot work on this study."""
    _build(named, space, directions, "sampler")


def _build(named: Named, space: Space | None, directions: tuple[str, ...], key: str) -> BaseSampler:
    name = named.name
    for package in PACKAGES.get(name, ()):
        if importlib.util.find_spec(package) is None:
            message = f"the sampler {name} needs the package {package}; install it: pip install {package}"
            raise UserError(message, key=f"{key}.name")
    if name in ONE_DIRECTION and len(directions) > 1:
        raise UserError(
            f"{name} works on one direction, and this study has {len(directions)}; use tpe, nsgaii, nsgaiii or gp",
            key=f"{key}.name",
        )
    check_arguments(SAMPLERS[name], named.args, name=name, key=key, offered=OFFERED.get(name))
    args = {**QUIET.get(name, {}), **named.args}
    if name in EXHAUSTIVE:
        return _exhaustive(name, args, space, key)
    if name in ("tpe", "optuna_tpe"):
        args = _tpe(args, space, directions)
    for argument in ("independent_sampler", "base_sampler"):
        if argument in args:
            args[argument] = _nested(args[argument], space, directions, f"{key}.{argument}")
    if name == "partial_fixed":
        args = _partial_fixed(args, space, directions, key)
    if name in ("nsgaii", "nsgaiii"):
        args = _genetic(args, key)
    if name == "cmaes" and "x0" in args:
        _check_point(args["x0"], space, f"{key}.x0")
    return quietly(SAMPLERS[name], key, **args)


def _tpe(args: dict[str, Any], space: Space | None, directions: tuple[str, ...]) -> dict[str, Any]:
    """With conditions, several parameters at once only work in groups: parameters that occur together.

    For several directions Optuna's default is one parameter at a time, which conditions do not disturb.
    """
    conditional = space is None or space.conditional
    if conditional and "group" not in args and args.get("multivariate", len(directions) == 1):
        return {**args, "multivariate": True, "group": True}
    if args.get("group") and args.get("multivariate") is None:
        return {**args, "multivariate": True}
    return args


def _nested(value: str | dict[str, Any], space: Space | None, directions: tuple[str, ...], key: str) -> BaseSampler:
    data = {"name": value} if isinstance(value, str) else dict(value)
    name = data.pop("name", None)
    if not isinstance(name, str):
        raise UserError("must name a sampler, as in {name: random, seed: 0}", key=key)
    return _build(Named(sampler_name(name, key=f"{key}.name"), data), space, directions, key)


def _partial_fixed(args: dict[str, Any], space: Space | None, directions: tuple[str, ...], key: str) -> dict[str, Any]:
    if not args.get("fixed_params"):
        raise UserError("partial_fixed needs fixed_params, as in {lr: 0.01}", key=f"{key}.fixed_params")
    _check_point(args["fixed_params"], space, f"{key}.fixed_params")
    seed = {"seed": args.pop("seed")} if "seed" in args else {}
    if "base_sampler" not in args:
        args["base_sampler"] = _build(Named("tpe", seed), space, directions, f"{key}.base_sampler")
    return args


def _genetic(args: dict[str, Any], key: str) -> dict[str, Any]:
    for argument, ending in (("crossover", "Crossover"), ("mutation", "Mutation")):
        if argument in args:
            module = optuna_samplers.nsgaii
            known = {
                n.removesuffix(ending).lower(): n for n in module.__all__ if n.endswith(ending) and n[:4] != "Base"
            }
            word = args[argument].lower().removesuffix(argument)
            if word not in known:
                message = f"there is no {argument} '{args[argument]}'{nearest(word, known)}"
                raise UserError(message, key=f"{key}.{argument}")
            args[argument] = quietly(getattr(module, known[word]), key)
    if "reference_points" in args:
        import numpy

        try:
            args["reference_points"] = numpy.array(args["reference_points"], dtype=float)
        except ValueError:
            raise UserError("must be a list of lists of numbers", key=f"{key}.reference_points") from None
    return args


def _exhaustive(name: str, args: dict[str, Any], space: Space | None, key: str) -> BaseSampler:
    if space is None:
        raise UserError(f"the sampler {name} needs a `space:` in the study file", key=f"{key}.name")
    if name == "bruteforce":
        for p in space.parameters:
            if cardinality(p.distribution) == math.inf:
                raise UserError(f"the sampler bruteforce needs a finite space, and '{p.name}' is continuous; "
                                "give it a step", key=f"{key}.name")  # fmt: skip
        return quietly(BruteForce, key, **args)
    values = grid_values(space, args.pop("search_space", {}), key)
    return quietly(Grid, key, search_space=values, **args)


def grid_values(space: Space, given: Mapping[str, Any], key: str = "sampler") -> dict[str, list[Any]]:
    """The values of each parameter in a grid: those ``given``, else all that the parameter can take.

    Raises:
        UserError: A parameter is continuous and not given, a value is out of range, or there are too many points.
    """
    for name in given:
        if name not in space.distributions:
            message = f"there is no parameter '{name}'{nearest(name, space.distributions)}"
            raise UserError(message, key=f"{key}.search_space.{name}")
    result: dict[str, list[Any]] = {}
    points = 1.0
    for name, distribution in space.distributions.items():
        if name in given:
            result[name] = given[name] if isinstance(given[name], list) else [given[name]]
            for value in result[name]:
                if not contains(distribution, value):
                    raise UserError(f"{value!r} is out of the parameter's range", key=f"{key}.search_space.{name}")
            points *= len(result[name])
            continue
        count = cardinality(distribution)
        if count == math.inf:
            raise UserError(f"a grid needs a finite space, and '{name}' is continuous; give it a step, or its "
                            f"values here: search_space: {{{name}: [...]}}", key=f"{key}.name")  # fmt: skip
        points *= count
        if points <= MAX_GRID:
            result[name] = _values(distribution, int(count))
    if points > MAX_GRID:
        message = f"the grid has {points:,.0f} points; {MAX_GRID:,} is the most, so use larger steps or another sampler"
        raise UserError(message, key=f"{key}.name")
    return result


def _values(distribution: Any, count: int) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    step = distribution.step or 0.0
    return [min(round(distribution.low + i * step, 12), distribution.high) for i in range(count)]


def _check_point(point: Mapping[str, Any], space: Space | None, key: str) -> None:
    for name, value in point.items():
        if space is None:
            continue
        if name not in space.distributions:
            raise UserError(f"there is no parameter '{name}'{nearest(name, space.distributions)}", key=f"{key}.{name}")
        if not contains(space.distributions[name], value):
            raise UserError(f"{value!r} is out of the parameter's range", key=f"{key}.{name}")
