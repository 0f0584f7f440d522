"""The samplers by name: makes the sampler that a study file names, and checks its arguments.

A new family of samplers is one folder here (as ``tpe/``) and one line in the table of ``SAMPLERS``. Other packages add
samplers with entry points in the group ``pilotune.samplers``.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna.samplers as optuna_samplers
from optuna.samplers import BaseSampler

from ...errors import UserError
from ...fields import shown
from ...yamlfile import nearest
from ..distributions import cardinality, contains
from ..registry_args import Entry, Named, Registry, arguments, check_arguments, quietly, whole_numbers
from ..space import Space
from ..user_code.parts import absolute, build_user_class, check_user_arguments, is_reference, load_user_class
from .constraints import constraints_function
from .exhaustive import ExhaustiveSampler
from .grid import grid_values, stored_values
from .optuna_arguments import check_numbers, genetic_arguments
from .points import Points
from .sizes import ageing_arguments, population_arguments
from .transfer.earlier import EarlierStudy
from .transfer.informed import informed_sampler

OPTUNA = "optuna.samplers"
SAMPLERS = Registry(
    "sampler",
    "pilotune.samplers",
    {
        "tpe": Entry(".tpe", "TPESampler", "Pilotune's tree-structured Parzen estimator; fast in large studies"),
        "gp": Entry(".surrogate", "GPSampler", "Pilotune's Gaussian process; finds the best values with one direction"),
        "evolution": Entry(".evolution", "EvolutionSampler", "an evolutionary algorithm, with all settings"),
        "ageing": Entry(".evolution", "AgeingSampler", "regularized evolution; for architectures and other choices"),
        "genetic": Entry(".evolution", "GeneticSampler", "a genetic algorithm with crossover"),
        "dhpo": Entry(".evolution", "DHPOSampler", "the best of parents and children; runs nothing twice"),
        "agebo": Entry(".networks", "AgEBOSampler", "ageing evolution of a graph, and a model of the rest"),
        "reinforce": Entry(".networks", "ReinforceSampler", "a small policy learnt by reinforcement; for comparisons"),
        "bohb": Entry(".tpe", "BOHBSampler", "the model of BOHB, TPE at the highest step; with the pruner hyperband"),
        "forest": Entry(".forest", "ForestSampler", "a random forest with q-UCB, or AMBS as published"),
        "pbt": Entry(".population", "PBTSampler", "population-based training: the worst go on as copies of the best"),
        "pb2": Entry(".population", "PB2Sampler", "population-based bandits: as pbt, for populations of 4 to 8"),
        "optuna_tpe": Entry(OPTUNA, "TPESampler", "Optuna's tree-structured Parzen estimator"),
        "random": Entry(".uniform", "RandomSampler", "independent random values"),
        "grid": Entry(".exhaustive", "GridSampler", "each point of a grid once"),
        "qmc": Entry(OPTUNA, "QMCSampler", "a quasi-random sequence (Sobol or Halton)"),
        "cmaes": Entry(OPTUNA, "CmaEsSampler", "covariance matrix adaptation evolution strategy"),
        "optuna_gp": Entry(OPTUNA, "GPSampler", "Optuna's Bayesian optimization with a Gaussian process"),
        "nsgaii": Entry(OPTUNA, "NSGAIISampler", "a genetic algorithm for several directions"),
        "nsgaiii": Entry(OPTUNA, "NSGAIIISampler", "a genetic algorithm for many directions"),
        "bruteforce": Entry(".exhaustive", "BruteForceSampler", "each configuration of a finite space once"),
        "partial_fixed": Entry(OPTUNA, "PartialFixedSampler", "another sampler with some parameters fixed"),
    },
    package=__package__,
    base=BaseSampler,
    aliases={
        "cma_es": "cmaes",
        "nsga2": "nsgaii",
        "nsga3": "nsgaiii",
        "brute_force": "bruteforce",
        "sobol": "qmc",
        "aging": "ageing",
        "regularized_evolution": "ageing",
        "population_based_training": "pbt",
    },
)

NESTED = ("independent_sampler", "base_sampler")
"""Arguments that are samplers themselves."""

EVOLUTION = ("evolution", "ageing", "genetic", "dhpo", "agebo")
POPULATION = ("pbt", "pb2")
CONSTRAINED = ("tpe", "gp", "forest", *EVOLUTION, "optuna_tpe", "optuna_gp", "nsgaii", "nsgaiii")
"""Samplers that take a ``constraints_func``, a function of the user's."""

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
    "gp": {"space": None, "earlier": None},
    **{name: {"space": None} for name in EVOLUTION},
    "forest": {"space": None, "earlier": None},
    "reinforce": {"space": None},
    **{name: {"space": None, "perturb": (list,)} for name in POPULATION},
    "optuna_gp": {"independent_sampler": _NESTED},
    "nsgaii": {"crossover": (str,), "mutation": (str,)},
    "nsgaiii": {"crossover": (str,), "mutation": (str,), "reference_points": (list,)},
    "partial_fixed": {"fixed_params": (dict,), "base_sampler": _NESTED},
}
"""By sampler, the types of arguments that a file gives in another form than code does; None: not offered."""
for _name in CONSTRAINED:
    OFFERED[_name] = {**OFFERED[_name], "constraints_func": (str,)}
PACKAGES = {"forest": ("sklearn",), "optuna_gp": ("torch",)}
"""Packages that a sampler imports and Pilotune does not require."""
EXTRAS = {"sklearn": ("scikit-learn", "'pilotune[forest]'")}
"""By such a package, its name in the index and what to install, where these are not its own name."""
ONE_DIRECTION = ("cmaes", "bohb", "forest", "reinforce", *EVOLUTION, *POPULATION)
EXHAUSTIVE = ("grid", "bruteforce")
TRANSFER = ("tpe", "gp", "forest", "cmaes")
"""Samplers that learn from earlier studies, where there is one direction."""
QUIET = {
    "qmc": {"warn_independent_sampling": False, "warn_asynchronous_seeding": False},
    "cmaes": {"warn_independent_sampling": False},
    "optuna_gp": {"warn_independent_sampling": False},
}


class _StudyFile(Protocol):
    @property
    def sampler(self) -> Named: ...
    @property
    def space(self) -> Space | None: ...
    @property
    def directions(self) -> tuple[str, ...]: ...
    @property
    def folder(self) -> Path: ...
    def error(self, message: str, key: str = "") -> UserError: ...


def sampler_names() -> list[str]:
    """The short names of all samplers, those of installed packages included."""
    return list(SAMPLERS.entries())


def sampler_name(name: str, *, folder: Path | None = None, key: str = "sampler.name") -> str:
    """The short name of a sampler, or where the user's own class is.

    Args:
        name: The short name in any case, an alias, the name of the class, or ``file.py:Class`` or ``module:Class``.
        folder: The study file's folder, where the user's files are looked up. None: they are looked up already.
        key: Where it stands in the study file.

    Raises:
        UserError: There is no such sampler; the message names the nearest one.

    Example:
        >>> sampler_name("CMA-ES"), sampler_name("TPESampler"), sampler_name("sobol")
        ('cmaes', 'tpe', 'qmc')
    """
    if is_reference(name):
        return name if folder is None else absolute(name, folder, what="class", key=key)
    return SAMPLERS.short_name(name, key=key)


def resolved_sampler(name: str, args: Mapping[str, Any], folder: Path, trials: int | None = None) -> Named:
    """A sampler as a study file in ``folder`` names it, with short names, and absolute paths of the user's files.

    Args:
        trials: The budget, which some defaults depend on; None: no budget.

    Raises:
        UserError: There is no such sampler, file or class. Its key is relative to the study file.
    """
    resolved = dict(args)
    if isinstance(args.get("constraints_func"), str) and not is_reference(name):
        function = absolute(args["constraints_func"], folder, what="function", key="sampler.constraints_func")
        resolved["constraints_func"] = function
    for argument in NESTED:
        value = args.get(argument)
        key = f"sampler.{argument}"
        if isinstance(value, str) and is_reference(value):
            resolved[argument] = absolute(value, folder, what="class", key=key)
        elif isinstance(value, dict) and isinstance(value.get("name"), str) and is_reference(value["name"]):
            named = resolved_sampler(value["name"], {k: v for k, v in value.items() if k != "name"}, folder)
            resolved[argument] = {"name": named.name, **named.args}
    short = sampler_name(name, folder=folder)
    if not is_reference(short):
        resolved = whole_numbers(SAMPLERS.load(short, key="sampler.name"), resolved, OFFERED.get(short))
    if short in ("ageing", "agebo"):
        resolved = ageing_arguments(resolved, trials)
    if short in POPULATION:
        resolved = population_arguments(short, resolved)
    return Named(short, resolved)


def sampler_arguments(name: str) -> list[str]:
    """The arguments that the sampler ``name`` takes in a study file."""
    return list(_arguments(name, "sampler.name"))


def _arguments(name: str, key: str) -> dict[str, Any]:
    return arguments(SAMPLERS.load(name, key=key), OFFERED.get(name))


def make_sampler(
    study_file: _StudyFile, *, seed: int | None = None, earlier: Sequence[EarlierStudy] = ()
) -> BaseSampler:
    """Make the sampler that a study file names.

    Args:
        study_file: Its ``sampler``, ``space`` and ``directions`` are used.
        seed: Used instead of the file's ``sampler.seed``, where the sampler takes one: a campaign that is continued
            must not draw the same numbers again.
        earlier: Studies that one of ``TRANSFER`` learns from; others pass them over.

    Raises:
        UserError: With file, line and key: the sampler refuses an argument, does not suit the study, or cannot be
            imported.
    """
    named = study_file.sampler
    try:
        if seed is not None and _takes_seed(named.name, study_file.folder):
            named = Named(named.name, {**named.args, "seed": seed})
        return _build(named, study_file.space, study_file.directions, "sampler", study_file.folder, earlier)
    except UserError as error:
        raise study_file.error(error.message, error.key or "sampler") from None


def _takes_seed(name: str, folder: Path) -> bool:
    if is_reference(name):
        return "seed" in inspect.signature(user_sampler(name, folder)).parameters
    return "seed" in arguments(SAMPLERS.load(name, key="sampler.name"))


def user_sampler(name: str, folder: Path, key: str = "sampler") -> type[BaseSampler]:
    """Import the user's own class that ``name`` stands for. Raises UserError where that fails."""
    return load_user_class(name, folder, base=BaseSampler, kind="sampler", key=f"{key}.name")


def check_sampler(named: Named, space: Space | None, directions: tuple[str, ...]) -> int | None:
    """Check that the sampler ``named`` can work on such a study. A class of the user's is not imported.

    Returns:
        How many points an exhaustive sampler tries, an upper bound in a large space with constraints; None for others.

    Raises:
        UserError: It cannot, or refuses an argument. Its key is relative to the study file.
    """
    sampler = _build(named, space, directions, "sampler", None)
    return sampler.points.size if isinstance(sampler, ExhaustiveSampler) else None


def _build_users(named: Named, space: Space | None, directions: tuple[str, ...], key: str, folder: Path) -> BaseSampler:
    """A sampler of a class of the user's; an argument that is annotated as a sampler may be given by name."""
    cls, args = user_sampler(named.name, folder, key), dict(named.args)
    check_user_arguments(cls, args, kind="sampler", key=key)
    for name, parameter in inspect.signature(cls).parameters.items():
        if "Sampler" in str(parameter.annotation) and isinstance(args.get(name), str | dict):
            args[name] = _nested(args[name], space, directions, f"{key}.{name}", folder)
    sampler: BaseSampler = build_user_class(cls, args, kind="sampler", key=key)
    return sampler


def _build(
    named: Named,
    space: Space | None,
    directions: tuple[str, ...],
    key: str,
    folder: Path | None,
    earlier: Sequence[EarlierStudy] = (),
) -> BaseSampler:
    """The sampler.

    Args:
        folder: The study file's; None: only check, and leave out the classes of the user's.
        earlier: Studies to learn from.
    """
    name = named.name
    if is_reference(name):
        if folder is None:
            return optuna_samplers.RandomSampler()
        return _build_users(named, space, directions, key, folder)
    for package in PACKAGES.get("forest" if named.args.get("model") == "forest" else name, ()):
        if importlib.util.find_spec(package) is None:
            known, wanted = EXTRAS.get(package, (package, package))
            message = f"the sampler {name} needs the package {known}; install it: pip install {wanted}"
            raise UserError(message, key=f"{key}.name")
    if name in ONE_DIRECTION and len(directions) > 1:
        raise UserError(
            f"{name} works on one direction, and this study has {len(directions)}; use gp, tpe, nsgaii or nsgaiii",
            key=f"{key}.name",
        )
    sampler_class = SAMPLERS.load(name, key=f"{key}.name")
    checked = check_arguments(sampler_class, named.args, name=name, key=key, offered=OFFERED.get(name))
    args = {**QUIET.get(name, {}), **checked}
    if name in EXHAUSTIVE:
        return _exhaustive(name, sampler_class, args, space, key)
    if "constraints_func" in args and name in CONSTRAINED:
        function = constraints_function(args.pop("constraints_func"), folder, f"{key}.constraints_func")
        args |= {} if function is None else {"constraints_func": function}
    if name in ("tpe", "optuna_tpe"):
        args = _tpe(args, space, directions)
    if name in POPULATION:
        from .population.arguments import check_population

        check_population(name, args, space, key)
    if name in ("gp", "forest", "reinforce", *EVOLUTION, *POPULATION):
        args["space"] = space
    for argument in NESTED:
        if argument in args:
            args[argument] = _nested(args[argument], space, directions, f"{key}.{argument}", folder)
    if name == "partial_fixed":
        if space is not None and "fixed_params" in args:
            args["fixed_params"] = _stored_point(args["fixed_params"], space)
        fixed_grid = _fixed_grid(args, space, directions, key)
        if fixed_grid is not None:
            return fixed_grid
        args = _partial_fixed(args, space, directions, key)
    if name in ("nsgaii", "nsgaiii"):
        args = genetic_arguments(args, key)
    if name == "cmaes":
        check_numbers(space, f"{key}.name")
        if "x0" in args:
            _check_point(args["x0"], space, f"{key}.x0")
    if earlier and name in TRANSFER and len(directions) == 1:
        sampler_class, args = informed_sampler(name, sampler_class, args, space, earlier)
    sampler: BaseSampler = quietly(sampler_class, key, **args)
    return sampler


def _tpe(args: dict[str, Any], space: Space | None, directions: tuple[str, ...]) -> dict[str, Any]:
    """Turn ``group`` on for conditional spaces: without it, only parameters that all trials have are modelled together.

    Not for several directions, where by default each parameter is modelled by itself, which needs no groups.
    """
    conditional = space is None or space.conditional
    if conditional and "group" not in args and args.get("multivariate", len(directions) == 1):
        return {**args, "multivariate": True, "group": True}
    if args.get("group") and args.get("multivariate") is None:
        return {**args, "multivariate": True}
    return args


def _nested(
    value: str | dict[str, Any], space: Space | None, directions: tuple[str, ...], key: str, folder: Path | None
) -> BaseSampler:
    data = {"name": value} if isinstance(value, str) else dict(value)
    name = data.pop("name", None)
    if not isinstance(name, str):
        raise UserError("must name a sampler, as in {name: random, seed: 0}", key=key)
    return _build(Named(sampler_name(name, folder=folder, key=f"{key}.name"), data), space, directions, key, folder)


def _partial_fixed(args: dict[str, Any], space: Space | None, directions: tuple[str, ...], key: str) -> dict[str, Any]:
    if not args.get("fixed_params"):
        raise UserError("partial_fixed needs fixed_params, as in {lr: 0.01}", key=f"{key}.fixed_params")
    _check_point(args["fixed_params"], space, f"{key}.fixed_params")
    seed = {"seed": args.pop("seed")} if "seed" in args else {}
    if "base_sampler" not in args:
        args["base_sampler"] = _build(Named("tpe", seed), space, directions, f"{key}.base_sampler", None)
    return args


def _fixed_grid(args: dict[str, Any], space: Space | None, directions: tuple[str, ...], key: str) -> BaseSampler | None:
    """An exhaustive sampler inside ``partial_fixed``: it tries the points with the fixed values; None for others."""
    base = args.get("base_sampler")
    if not isinstance(base, ExhaustiveSampler) or space is None:
        return None
    fixed = args.get("fixed_params") or {}
    _partial_fixed({**args, "base_sampler": base}, space, directions, key)
    values = {axis.name: [axis.value(place) for place in range(axis.count)] for axis in base.points.axes}
    sampler = ExhaustiveSampler(Points(space, {**values, **{name: [fixed[name]] for name in fixed}}), base.seed)
    sampler.NOUN = base.NOUN
    return sampler


def _exhaustive(
    name: str, sampler_class: type[ExhaustiveSampler], args: dict[str, Any], space: Space | None, key: str
) -> ExhaustiveSampler:
    if space is None:
        raise UserError(f"the sampler {name} needs a `space:` in the study file", key=f"{key}.name")
    sampler: ExhaustiveSampler
    if name == "bruteforce":
        for p in space.parameters:
            if cardinality(p.distribution) == math.inf:
                raise UserError(f"the sampler bruteforce needs a finite space, and '{p.name}' is continuous; "
                                "give it a step", key=f"{key}.name")  # fmt: skip
        sampler = quietly(sampler_class, key, space=space, **args)
    else:
        given = stored_values(args.pop("search_space", {}), space)
        grid_values(space, given, key)
        sampler = quietly(sampler_class, key, space=space, search_space=given, **args)
    if not sampler.points.size:
        raise UserError(f"no point of the {name} satisfies the constraints", key=f"{key}.name")
    return sampler


def _stored_point(point: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """A point with the texts that stand for choices that are lists or mappings."""
    by_name = {parameter.name: parameter for parameter in space.parameters}
    return {name: by_name[name].text_of(value) if name in by_name else value for name, value in point.items()}


def _check_point(point: Mapping[str, Any], space: Space | None, key: str) -> None:
    """Check that the values of ``point`` are within the space, where there is one."""
    for name, value in point.items():
        if space is None:
            continue
        if name not in space.distributions:
            raise UserError(f"there is no parameter '{name}'{nearest(name, space.distributions)}", key=f"{key}.{name}")
        if not contains(space.distributions[name], value):
            raise UserError(f"{shown(value)} is outside the parameter's range", key=f"{key}.{name}")
