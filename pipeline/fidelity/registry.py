"""The pruners by name: makes the pruner that a study file names, and checks its arguments.

A new pruner is one module here and one line in the table of ``PRUNERS``. Other packages add pruners with entry points
in the group ``pilotune.pruners``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import optuna.pruners as optuna_pruners
from optuna.pruners import BasePruner

from ...errors import UserError
from ...fields import shown
from ..registry_args import Entry, Named, Registry, arguments, check_arguments, quietly, whole_numbers
from ..user_code.parts import absolute, build_user_class, check_user_arguments, is_reference, load_user_class
from .promotion import MODES, PROMOTE

OPTUNA = "optuna.pruners"
PRUNERS = Registry(
    "pruner",
    "pilotune.pruners",
    {
        "hyperband": Entry(".halving", "HyperbandPruner", "successive halving in several brackets"),
        "median": Entry(".percentile", "MedianPruner", "prunes what is worse than the median"),
        "percentile": Entry(".percentile", "PercentilePruner", "prunes what is worse than a percentile"),
        "successive_halving": Entry(".halving", "SuccessiveHalvingPruner", "one in a few goes on at each rung (ASHA)"),
        "extrapolation": Entry(
            ".extrapolation", "ExtrapolationPruner", "prunes whose learning curve will hardly become the best"
        ),
        "threshold": Entry(OPTUNA, "ThresholdPruner", "prunes what is outside fixed bounds"),
        "patient": Entry(OPTUNA, "PatientPruner", "another pruner, only after some steps without improvement"),
        "wilcoxon": Entry(OPTUNA, "WilcoxonPruner", "a signed-rank test against the best trial's reports"),
        "none": Entry(OPTUNA, "NopPruner", "never prunes"),
    },
    package=__package__,
    base=BasePruner,
    aliases={"asha": "successive_halving", "sha": "successive_halving", "nop": "none", "off": "none"},
)

OFFERED: dict[str, dict[str, Any]] = {
    "hyperband": {"max_resource": (int, str), "mode": (str,)},
    "successive_halving": {"min_resource": (int, str), "max_resource": (int, str), "mode": (str,)},
    "patient": {"wrapped_pruner": (str, dict)},
}
"""By pruner, the types of arguments that a file gives in another form than code does, and ``mode``, which is ours."""
NESTED = "wrapped_pruner"
"""The argument that is a pruner itself."""
REQUIRED = {"percentile": "percentile", "extrapolation": "max_resource", "patient": "patience"}
"""By pruner, the argument without a default."""


class _StudyFile(Protocol):
    @property
    def pruner(self) -> Named | None: ...
    @property
    def folder(self) -> Path: ...
    def error(self, message: str, key: str = "") -> UserError: ...


def pruner_names() -> list[str]:
    """The short names of all pruners, those of installed packages included."""
    return list(PRUNERS.entries())


def pruner_name(name: str, *, folder: Path | None = None, key: str = "pruner.name") -> str:
    """The short name of a pruner, or where the user's own class is.

    Args:
        name: The short name in any case, an alias, the name of the class, or ``file.py:Class`` or ``module:Class``.
        folder: The study file's folder, where the user's files are looked up. None: they are looked up already.
        key: Where it stands in the study file.

    Raises:
        UserError: There is no such pruner; the message names the nearest one.

    Example:
        >>> pruner_name("ASHA"), pruner_name("HyperbandPruner"), pruner_name("off")
        ('successive_halving', 'hyperband', 'none')
    """
    if is_reference(name):
        return name if folder is None else absolute(name, folder, what="class", key=key)
    return PRUNERS.short_name(name, key=key)


def resolved_pruner(name: str, args: Mapping[str, Any], folder: Path) -> Named:
    """A pruner as a study file in ``folder`` names it, with short names, and absolute paths of the user's files.

    Raises:
        UserError: There is no such pruner, file or class. Its key is relative to the study file.
    """
    resolved, value = dict(args), args.get(NESTED)
    if isinstance(value, str) and is_reference(value):
        resolved[NESTED] = absolute(value, folder, what="class", key=f"pruner.{NESTED}")
    elif isinstance(value, dict) and isinstance(value.get("name"), str) and is_reference(value["name"]):
        named = resolved_pruner(value["name"], {k: v for k, v in value.items() if k != "name"}, folder)
        resolved[NESTED] = {"name": named.name, **named.args}
    short = pruner_name(name, folder=folder)
    if not is_reference(short):
        resolved = whole_numbers(PRUNERS.load(short, key="pruner.name"), resolved, OFFERED.get(short))
    return Named(short, resolved)


def pruner_arguments(name: str) -> list[str]:
    """The arguments that the pruner ``name`` takes in a study file."""
    return list(arguments(PRUNERS.load(name, key="pruner.name"), OFFERED.get(name)))


def make_pruner(study_file: _StudyFile) -> BasePruner:
    """Make the pruner that a study file names; one that never prunes where it names none.

    Also where the mode is ``promote``: then the campaign itself pauses and promotes trials, by the file's
    :func:`~.promotion.rung_schedule`.

    Raises:
        UserError: With file, line and key: the pruner refuses an argument, or cannot be imported.
    """
    if study_file.pruner is None:
        return optuna_pruners.NopPruner()
    try:
        return _build(study_file.pruner, "pruner", study_file.folder)
    except UserError as error:
        raise study_file.error(error.message, error.key or "pruner") from None


def check_pruner(named: Named) -> None:
    """Check that the pruner ``named`` can be made. A class of the user's is not imported.

    Raises:
        UserError: It cannot. The key is relative to the study file.
    """
    _build(named, "pruner", None)


def user_pruner(name: str, folder: Path, key: str = "pruner") -> type[BasePruner]:
    """Import the user's own class that ``name`` stands for. Raises UserError where that fails."""
    return load_user_class(name, folder, base=BasePruner, kind="pruner", key=f"{key}.name")


def _build_users(named: Named, key: str, folder: Path) -> BasePruner:
    """A pruner of a class of the user's; an argument that is annotated as a pruner may be given by name."""
    cls, args = user_pruner(named.name, folder, key), dict(named.args)
    check_user_arguments(cls, args, kind="pruner", key=key)
    for name, parameter in inspect.signature(cls).parameters.items():
        if "Pruner" in str(parameter.annotation) and isinstance(args.get(name), str | dict):
            args[name] = _wrapped(args[name], f"{key}.{name}", folder)
    pruner: BasePruner = build_user_class(cls, args, kind="pruner", key=key)
    return pruner


def _build(named: Named, key: str, folder: Path | None) -> BasePruner:
    """The pruner. ``folder``: the study file's; None: only check, and leave out the classes of the user's."""
    name, args = named.name, dict(named.args)
    if is_reference(name):
        return optuna_pruners.NopPruner() if folder is None else _build_users(named, key, folder)
    pruner_class = PRUNERS.load(name, key=f"{key}.name")
    args = check_arguments(pruner_class, args, name=name, key=key, offered=OFFERED.get(name))
    if name in REQUIRED and REQUIRED[name] not in args:
        raise UserError(f"the pruner {name} needs this argument", key=f"{key}.{REQUIRED[name]}")
    if name == "hyperband":
        _check_hyperband(args, key)
    if "mode" in OFFERED.get(name, {}) and _promotes(name, args, key):
        return optuna_pruners.NopPruner()  # the campaign itself pauses and promotes trials
    if name == "threshold" and "lower" not in args and "upper" not in args:
        raise UserError("the pruner threshold needs lower, upper or both", key=key)
    if name == "patient":
        args[NESTED] = _wrapped(args.get(NESTED), f"{key}.{NESTED}", folder)
    pruner: BasePruner = quietly(pruner_class, key, **args)
    return pruner


def _check_hyperband(args: Mapping[str, Any], key: str) -> None:
    low, high = args.get("min_resource", 1), args.get("max_resource")
    if high is None:
        message = "hyperband needs max_resource, the steps of a full trial (its epochs, say), as in max_resource: 27"
        raise UserError(message, key=f"{key}.max_resource")
    if isinstance(high, str) and high != "auto":
        raise UserError(f"must be a whole number or auto, but is {shown(high)}", key=f"{key}.max_resource")
    if high != "auto" and high < low:
        raise UserError(f"must be at least min_resource ({low}), but is {high}", key=f"{key}.max_resource")
    if high == "auto" and args.get("bootstrap_count", 0):
        raise UserError("cannot be given with max_resource: auto", key=f"{key}.bootstrap_count")


def _check_last_step(args: Mapping[str, Any], key: str) -> None:
    """Check ``max_resource``, the last step, beside ``min_resource``."""
    low, high = args.get("min_resource"), args.get("max_resource")
    if isinstance(high, str) and high != "auto":
        raise UserError(f"must be a whole number or auto, but is {shown(high)}", key=f"{key}.max_resource")
    if isinstance(low, int) and isinstance(high, int) and high < low:
        raise UserError(f"must be at least min_resource ({low}), but is {high}", key=f"{key}.max_resource")


def _promotes(name: str, args: dict[str, Any], key: str) -> bool:
    """Whether the mode is ``promote``. Checks the arguments that depend on it, and takes ``mode`` out of ``args``."""
    mode, high = args.pop("mode", MODES[0]), args.get("max_resource")
    if mode not in MODES:
        raise UserError(f"must be stop or promote, but is {shown(mode)}", key=f"{key}.mode")
    if mode != PROMOTE:
        _check_last_step(args, key)
        return False
    low = args.get("min_resource", 1)
    if isinstance(low, str):
        raise UserError(f"must be a whole number with mode: promote, but is {shown(low)}", key=f"{key}.min_resource")
    if not isinstance(high, int):
        message = "mode: promote needs a whole number, the steps of a full trial, as in max_resource: 27"
        raise UserError(message, key=f"{key}.max_resource")
    if high < low:
        raise UserError(f"must be at least min_resource ({low}), but is {high}", key=f"{key}.max_resource")
    if args.get("bootstrap_count", 0):
        raise UserError("cannot be given with mode: promote", key=f"{key}.bootstrap_count")
    return True


def _wrapped(value: str | dict[str, Any] | None, key: str, folder: Path | None) -> BasePruner | None:
    """The pruner inside ``patient``: given by name, or as a mapping with ``name`` and arguments."""
    if value is None:
        return None
    data = {"name": value} if isinstance(value, str) else dict(value)
    name = data.pop("name", None)
    if not isinstance(name, str):
        raise UserError("must name a pruner, as in {name: median, n_startup_trials: 5}", key=key)
    if data.get("mode") == PROMOTE:
        raise UserError("a pruner inside another cannot promote", key=f"{key}.mode")
    return _build(Named(pruner_name(name, folder=folder, key=f"{key}.name"), data), key, folder)
