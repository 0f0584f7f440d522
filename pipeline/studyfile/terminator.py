"""``budget: terminator``: makes Optuna's terminator, or one of the user's own, and checks its arguments.

``optuna.terminator`` is imported here and only where a study file has the key.
"""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...yamlfile import nearest
from ..registry_args import arguments, check_arguments, quietly
from ..user_code.parts import absolute, build_user_class, check_user_arguments, is_reference, load_user_class

if TYPE_CHECKING:
    from optuna.terminator import BaseTerminator

KEY = "budget.terminator"
IMPROVEMENT = {
    "regret_bound": "RegretBoundEvaluator",
    "stagnation": "BestValueStagnationEvaluator",
    "emmr": "EMMREvaluator",
}
"""Names of the evaluators of what can still be gained, and their classes."""
ERROR = {
    "cross_validation": "CrossValidationErrorEvaluator",
    "static": "StaticErrorEvaluator",
    "median": "MedianErrorEvaluator",
}
"""Names of the evaluators of the error of a value, and their classes."""
EVALUATORS = {"improvement_evaluator": IMPROVEMENT, "error_evaluator": ERROR}
MODELS = ("regret_bound", "emmr")
"""Evaluators that fit a Gaussian process, for which Optuna needs PyTorch."""


def resolved_terminator(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments of a terminator, checked, with absolute paths of the user's files, which are not imported.

    Args:
        data: The mapping at ``budget.terminator``; empty for Optuna's defaults.
        folder: The study file's folder.

    Raises:
        UserError: With the key: an argument is unknown or wrong, or a package is missing.
    """
    name = data.get("name")
    if name is None:
        _make(data)
        return dict(data)
    if not isinstance(name, str) or not is_reference(name):
        message = "must be a class of your own, as in file.py:Class; without a name it is Optuna's terminator"
        raise UserError(message, key=f"{KEY}.name")
    return {**data, "name": absolute(name, folder, what="class", key=f"{KEY}.name")}


def make_terminator(data: Mapping[str, Any], folder: Path) -> BaseTerminator:
    """Make the terminator from its resolved arguments. Raises UserError with the key."""
    name = data.get("name")
    if name is None:
        return _make(data)
    from optuna.terminator import BaseTerminator

    cls = load_user_class(name, folder, base=BaseTerminator, kind="terminator", key=f"{KEY}.name")
    args = {key: value for key, value in data.items() if key != "name"}
    check_user_arguments(cls, args, kind="terminator", key=KEY)
    terminator: BaseTerminator = build_user_class(cls, args, kind="terminator", key=KEY)
    return terminator


def _make(data: Mapping[str, Any]) -> BaseTerminator:
    from optuna import terminator as module

    offered = dict.fromkeys(EVALUATORS, (str, dict))
    args = check_arguments(module.Terminator, data, name="terminator", key=KEY, offered=offered)
    improvement = _name(data.get("improvement_evaluator", "regret_bound"), "improvement_evaluator")
    _check_packages(improvement)
    if "improvement_evaluator" in data:
        args["improvement_evaluator"] = _evaluator("improvement_evaluator", data)
    if "error_evaluator" in data:
        args["error_evaluator"] = _evaluator("error_evaluator", data)
    return quietly(module.Terminator, KEY, **args)


def _check_packages(improvement: str) -> None:
    if improvement in MODELS and importlib.util.find_spec("torch") is None:
        message = (
            f"the evaluator {improvement} needs the package torch; install it (pip install torch), or write "
            "improvement_evaluator: stagnation"
        )
        raise UserError(message, key=KEY)


def _name(value: Any, argument: str) -> str:
    """The short name in an evaluator's name or mapping."""
    key = f"{KEY}.{argument}"
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str):
        raise UserError(f"must name one, as in {{name: {next(iter(EVALUATORS[argument]))}}}", key=key)
    known = EVALUATORS[argument]
    word = name.lower().replace("-", "_")
    found = next((short for short, cls in known.items() if word in (short, cls.lower())), None)
    if found is None:
        raise UserError(f"there is no {argument.replace('_', ' ')} '{name}'{nearest(word, known)}", key=key)
    return found


def _evaluator(argument: str, data: Mapping[str, Any]) -> Any:
    from optuna import terminator as module

    value, key = data[argument], f"{KEY}.{argument}"
    name = _name(value, argument)
    cls = getattr(module, EVALUATORS[argument][name])
    args = {each: value[each] for each in value if each != "name"} if isinstance(value, dict) else {}
    args = check_arguments(cls, args, name=name, key=key)
    required = [
        each
        for each, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty and each in arguments(cls)
    ]
    missing = [each for each in required if each not in args]
    if missing:
        raise UserError(f"{name} needs {', '.join(missing)}", key=key)
    if name == "median":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            args["paired_improvement_evaluator"] = _paired(data)
    return quietly(cls, key, **args)


def _paired(data: Mapping[str, Any]) -> Any:
    """The improvement evaluator that a median error belongs to: the terminator's own."""
    return _evaluator("improvement_evaluator", {"improvement_evaluator": "regret_bound", **data})


def needs_scores(data: Mapping[str, Any]) -> bool:
    """Whether the objective has to report cross-validation scores for this terminator.

    >>> needs_scores({}), needs_scores({"improvement_evaluator": "stagnation"})
    (True, False)
    """
    if "name" in data:
        return False
    if "error_evaluator" in data:
        return _name(data["error_evaluator"], "error_evaluator") == "cross_validation"
    return _name(data.get("improvement_evaluator", "regret_bound"), "improvement_evaluator") != "stagnation"


def terminator_in_words(data: Mapping[str, Any]) -> str:
    """The terminator for ``check`` and for the reason of the end: ``Optuna's terminator (regret_bound)``."""
    if "name" in data:
        return f"the terminator {data['name']}"
    improvement = _name(data.get("improvement_evaluator", "regret_bound"), "improvement_evaluator")
    error = data.get("error_evaluator")
    names = [improvement, *([] if error is None else [_name(error, "error_evaluator")])]
    return f"Optuna's terminator ({', '.join(names)})"
