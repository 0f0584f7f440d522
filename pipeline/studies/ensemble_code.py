"""Finds the function by which the members of an ensemble predict, and the files that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ..ensemble.members import MODEL, How, Member
from ..ensemble.saved import CODE

if TYPE_CHECKING:
    from ..analysis import StudyData
    from ..user_code.references import Reference

PREDICT = "predict"
"""Name of the function, where it is in the objective's own file or module."""


def how_members_predict(
    given: str | None, study_file: Path | None, data: StudyData, members: Sequence[Member]
) -> tuple[How, Mapping[str, Path]]:
    """By what the members predict: the function that is named, else ``predict`` beside the objective, else a graph.

    Args:
        given: ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``, from the working directory; None: none is named.
        study_file: The study's; None if that is not known.
        data: The study.
        members: The ensemble's.

    Returns:
        It, and the Python files to copy, by their place in the ensemble's folder. They are the function's file, those
        of layers of the user's own, and the files that they import, as far as they are not installed.

    Raises:
        UserError: There is no such function, or none is named and none is found; or a layer's module is not found.
    """
    from ..user_code.references import find_reference

    if given is not None:
        try:
            found: Reference | None = find_reference(given, Path.cwd())
        except UserError as error:
            raise UserError(error.message, file="--predict") from None
    else:
        found = _beside_objective(study_file)
    layers = _layers(data, members, study_file.parent if study_file is not None else Path.cwd())
    if found is not None:
        how, code = _function(found, inside=given is None)
        return how, _joined(code, layers)
    graphs = list(data.graphs)
    without = [member.trial for member in members if MODEL not in member.files]
    if len(graphs) == 1 and not without:
        return How(graph=graphs[0]), layers
    why = f"; trial {without[0]} has kept no {MODEL} with the weights of its network" if graphs and without else ""
    raise UserError(
        "the ensemble does not know how its members predict; give --predict FILE.py:FUNCTION, a function of a member's "
        f"files, its parameters and the rows{why}"
    )


def _beside_objective(study_file: Path | None) -> Reference | None:
    """The function ``predict`` in the file or module of the study's objective; None if there is none."""
    from ..studyfile import load_study_file
    from ..user_code.references import find_reference

    if study_file is None:
        return None
    try:
        objective = load_study_file(study_file).objective
        place = objective.file or objective.module
        found = find_reference(f"{place}:{PREDICT}", Path(objective.folder)) if place else None
    except UserError:  # the study file has changed or is gone, or there is no such function
        return None
    return found if found is not None and found.node is not None else None


def _function(found: Reference, *, inside: bool) -> tuple[How, dict[str, Path]]:
    """The function, and the user's files that it needs, where they stand to each other as now.

    Args:
        found: The function.
        inside: Its file belongs to the study, so that it may import from the study's folder, too.
    """
    file, folder = Path(found.file), Path(found.folder)
    if not found.file:
        return How(module=found.module, function=found.name), _module(found.module, folder)
    root = folder if inside and file.is_relative_to(folder) else file.parent
    code = _placed([file, *_needed(file=str(file), folder=root)], root)
    return How(file=f"{CODE}/{file.relative_to(root).as_posix()}", function=found.name), code


def _module(name: str, folder: Path) -> dict[str, Path]:
    """The files that a module of the user's needs; none for one that is installed."""
    return _placed(_needed(module=name, folder=folder), folder)


def _needed(*, file: str = "", module: str = "", folder: Path) -> list[Path]:
    from ..studyfile.imports import needed_files
    from ..trial.protocol import ObjectiveSpec

    return needed_files(ObjectiveSpec(file=file, module=module, folder=str(folder)))


def _placed(files: Sequence[Path], root: Path) -> dict[str, Path]:
    return {f"{CODE}/{path.relative_to(root).as_posix()}": path for path in files if path.is_relative_to(root)}


def _joined(code: Mapping[str, Path], layers: Mapping[str, Path]) -> dict[str, Path]:
    """The files of both. Raises UserError where two of them would be one."""
    for place, path in layers.items():
        if not code.get(place, path).samefile(path):
            raise UserError(
                f"the members need both {code[place]} and {path}, and an ensemble has one {place.partition('/')[2]}; "
                "rename one of them"
            )
    return {**code, **layers}


def _layers(data: StudyData, members: Sequence[Member], folder: Path) -> dict[str, Path]:
    """The files of the layers of the user's own that the members' networks have."""
    from ..user_code.references import find_module

    modules: dict[str, tuple[str, int]] = {}
    for member in members:
        for call in _own_operations(data, member):
            modules.setdefault(call.rpartition(":")[0], (call, member.trial))
    code: dict[str, Path] = {}
    for module, (call, trial) in sorted(modules.items()):
        if find_module(module, folder) is None:
            raise UserError(
                f"the network of trial {trial} has the layer {call}, and there is no module {module!r} in {folder} or "
                "among the installed packages; put it back, so that the ensemble gets a copy"
            )
        code |= _module(module, folder)
    return code


def _own_operations(data: StudyData, member: Member) -> list[str]:
    """The callables of the user's in a member's networks, as module:Name."""
    if not data.graphs:
        return []
    from ..architecture.graph import Graph
    from ..architecture.network import NetworkError, network

    found = []
    for name, graph in data.graphs.items():
        try:
            steps = network(Graph.from_data(graph), member.params, name).steps
        except (NetworkError, ValueError) as error:
            raise UserError(f"the network of trial {member.trial} cannot be built: graph {name}, {error}") from None
        found += [step.operation.call.name for step in steps if step.operation and step.operation.is_users]
    return found
