"""``pilotune.run``: starts a campaign from Python, in the background, as ``pilotune run --detach`` does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SiteError, UserError
from .arguments import absolute_references, default_name, errors_of_arguments, plain, settings, site_names
from .notebook import import_optuna

if TYPE_CHECKING:
    from ..studies.request import Request
    from ..studies.resolve import PreparedRun
    from .handles import Campaign


def run(
    study: str | os.PathLike[str] | Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    space: Mapping[str, Any] | None = None,
    direction: str | None = None,
    directions: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    constraints: Sequence[str] | None = None,
    sampler: str | Mapping[str, Any] | None = None,
    pruner: str | Mapping[str, Any] | None = None,
    budget: Mapping[str, Any] | None = None,
    trial: Mapping[str, Any] | None = None,
    placement: str | Mapping[str, Any] | None = None,
    callbacks: Sequence[str | Mapping[str, Any]] | None = None,
    loggers: Sequence[str | Mapping[str, Any]] | None = None,
    start_from: Mapping[str, Any] | None = None,
    objective: str | None = None,
    objective_args: Mapping[str, Any] | None = None,
    command: str | Sequence[str] | Mapping[str, Any] | None = None,
    site: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    storage: str | None = None,
    runs: str | os.PathLike[str] | None = None,
    trials: int | None = None,
    set: Mapping[str, Any] | None = None,
    **more: Any,
) -> Campaign:
    """Run a study in the background, or resume it if it has run before.

    The driver is a process of its own, the same as that of ``pilotune run --detach``: it goes on when this process
    ends, and every command of ``pilotune`` and :func:`pilotune.open` find the study by its name.

    A function of a module on disk is named in the study file. One of a notebook or of the main script is sent by value,
    with the variables and functions that it uses; workers then need the same minor version of Python. The study file,
    which is written to ``<runs>/<name>/study.yaml``, can be used like any other.

    Args:
        study: A study file, the folder of one, or an objective: a function of a :class:`pilotune.Trial`, or of the
            space's parameters by name. None with ``objective`` or ``command``.
        name: The study's name; by default that of the study file, or of the function.
        space, direction, directions, metrics, constraints, sampler, pruner, budget, trial, placement, callbacks,
            loggers, start_from: The keys of a study file, which ``docs/study-file.md`` explains. Files are relative to
            the working directory.
        objective, objective_args, command: The same, instead of a function.
        site: Name or file of the site, or a list of several that it runs on at once; this machine by default.
        storage: URL of the database; by default ``study.db`` in the study's folder.
        runs: Folder of the run directories; by default ``pilotune-runs`` in the working directory, or beside the study
            file.
        trials: Total number of trials of the study, instead of ``budget.trials``.
        set: Changes of keys of the study file or the site file, as ``--set`` makes them: ``{"pools.local.walltime":
            "1h"}``.
        more: No key of a study file has another name; the nearest is named in the error.

    Returns:
        The campaign, once it has begun. Its workers may still wait in a queue.

    Raises:
        UserError: An argument, the study file or the site file is wrong; the function cannot be sent; another driver
            runs the study; or the database has another study of this name.
        SiteError: The site, a disk or the database refused.

    Example::

        def train(lr, units):
            return accuracy_of(lr, units)

        campaign = pilotune.run(
            train,
            space={"lr": {"float": [1e-5, 0.1], "log": True}, "units": {"int": [16, 256]}},
            direction="maximize",
            budget={"trials": 50},
        )
        campaign.wait()
    """
    keys: dict[str, Any] = {
        "objective": objective,
        "objective_args": objective_args,
        "command": command,
        "direction": direction,
        "directions": directions,
        "metrics": metrics,
        "space": space,
        "constraints": constraints,
        "sampler": sampler,
        "pruner": pruner,
        "budget": budget,
        "trial": trial,
        "placement": placement,
        "callbacks": callbacks,
        "loggers": loggers,
        "start_from": start_from,
        **more,
    }
    keys = {key: value for key, value in keys.items() if value is not None or key in more}
    from ..studies.request import Request
    from .handles import Campaign
    from .launch import launch

    where = Request(
        study="",
        sites=site_names(site),
        storage=storage,
        trials=trials,
        overrides=settings(set),
        runs=None if runs is None else Path(runs),
        quiet=True,
    )
    if isinstance(study, str | os.PathLike):
        return Campaign.of_started(launch(_of_file(os.fspath(study), name, keys, where)))
    return Campaign.of_started(launch(_of_arguments(study, name, keys, where)))


def _of_file(study: str, name: str | None, keys: Mapping[str, Any], where: Request) -> Request:
    """The request for a study file; raises UserError where arguments would change it."""
    if keys:
        key = next(iter(keys))
        hint = f"change it with set={{'{key}': ...}}, or in the file"
        raise UserError(f"the study file says this; {hint}", key=key)
    return replace(where, study=study, new_name=name)


def _of_arguments(function: Any, name: str | None, keys: Mapping[str, Any], where: Request) -> Request:
    """Write the study file that the arguments describe; returns the request for it."""
    from ..studies.preflight import check_start, refuse_second_driver

    import_optuna()
    new = NewStudy.of(function, name, keys)
    with tempfile.TemporaryDirectory(prefix="pilotune-") as folder:  # nothing is left of a study that is refused
        path = new.write(Path(folder))
        with errors_of_arguments(path):
            prepared = replace(where, study=str(path), beside=Path.cwd()).prepare()
            _check_signature(function, prepared)
            check_start(prepared)
    refuse_second_driver(prepared)
    path = new.write_beside(prepared)
    return replace(where, study=str(path), storage=prepared.storage, runs=prepared.runs)


@dataclass(frozen=True)
class NewStudy:
    """A study that is described by arguments.

    Attributes:
        data: The content of its study file.
        files: The content of the files beside it, by name.
    """

    data: Mapping[str, Any]
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, function: Any, name: str | None, keys: Mapping[str, Any]) -> NewStudy:
        """The study of these arguments. Raises UserError where they contradict each other, or are no plain data."""
        from .shipping import label, shipment

        given = absolute_references({key: plain(value, key) for key, value in keys.items()}, Path.cwd())
        data: dict[str, Any] = {"name": plain("study" if name is None else name, "name")}
        files: Mapping[str, bytes] = {}
        if function is None:
            if not {"objective", "command"} & keys.keys():
                raise UserError("pilotune.run needs a study file or a function, as in pilotune.run('study.yaml')")
        elif not callable(function):
            kind = type(function).__name__
            raise UserError(f"must be a study file or a function, but is of the type {kind}", key="study")
        elif twice := [key for key in ("objective", "command") if key in keys]:
            raise UserError(f"{label(function)} is the objective already; leave this out", key=twice[0])
        else:
            sent = shipment(function)
            if name is None:
                data["name"] = default_name(label(function))
            data["objective"], files = sent.reference, sent.files
        return cls({**data, **given}, files)

    def write(self, folder: Path, **more: Any) -> Path:
        """Write the study file and what belongs to it, for this user only; returns the path of the study file."""
        from ...yamlfile import dump_yaml
        from ..studyfile.written import MARK
        from ..trial.files import write_atomically

        path = folder / "study.yaml"
        text = f"# {MARK}. The keys: docs/study-file.md\n{dump_yaml({**self.data, **more})}"
        for file, content in self.files.items():
            write_privately(folder / file, content)
        write_atomically(path, text)
        return path

    def write_beside(self, prepared: PreparedRun) -> Path:
        """Write the study into its own folder of the run directories, from where every command can use it."""
        from ..record.rundir import make_trusted

        folder = prepared.runs / prepared.study_file.name
        try:
            make_trusted(folder)
            return self.write(folder, name=prepared.study_file.name, storage=prepared.storage)
        except OSError as error:
            raise SiteError(f"the study file cannot be written: {error.strerror}: {folder}") from None


def write_privately(path: Path, content: bytes) -> None:
    """Write a file that only this user can read, so that a reader sees all of it or nothing."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    part.replace(path)


def _check_signature(function: Any, prepared: PreparedRun) -> None:
    """Raise UserError if the function cannot be called with the trial, or with the space's parameters."""
    from ..worker.objective.call import signature_problem

    space, method = prepared.study_file.space, "." in getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    if function is None or isinstance(function, type) or prepared.study_file.objective.args or method:
        return
    problem = signature_problem(function, space.names if space else [])
    if problem:
        raise UserError(problem, key="objective")
