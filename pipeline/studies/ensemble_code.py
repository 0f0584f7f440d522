"""Finds the function by which the members of an ensemble predict, and the files that it needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ..ensemble.members import MODEL, How
from ..ensemble.saved import CODE

if TYPE_CHECKING:
    from ..analysis import StudyData
    from ..user_code.references import Reference

PREDICT = "predict"
"""Name of the function, where it is in the objective's own file or module."""


def how_members_predict(
    given: str | None, study_file: Path | None, data: StudyData, files: Sequence[Collection[str]]
) -> tuple[How, Mapping[str, Path]]:
    """By what the members predict: the function that is named, else ``predict`` beside the objective, else a graph.

    Args:
        given: ``FILE.py:FUNCTION`` or ``package.module:FUNCTION``, from the working directory; None: none is named.
        study_file: The study's; None if that is not known.
        data: The study.
        files: The names of each member's artifacts.

    Returns:
        It, and the Python files to copy, by their place in the ensemble's folder. They are the function's file and the
        files that it imports, as far as they are not installed.

    Raises:
        UserError: There is no such function, or none is named and none is found.
    """
    from ..user_code.references import find_reference

    if given is not None:
        try:
            found: Reference | None = find_reference(given, Path.cwd())
        except UserError as error:
            raise UserError(error.message, file="--predict") from None
    else:
        found = _beside_objective(study_file)
    if found is not None:
        return _copied(found) if found.file else (How(module=found.module, function=found.name), {})
    graphs = list(data.graphs)
    if len(graphs) == 1 and all(MODEL in each for each in files):
        return How(graph=graphs[0]), {}
    raise UserError(
        "the ensemble does not know how its members predict; give --predict FILE.py:FUNCTION, a function of a member's "
        "files, its parameters and the rows"
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


def _copied(found: Reference) -> tuple[How, Mapping[str, Path]]:
    """The function's file and the user's files that it imports, where they stand to each other as now."""
    from ..studyfile.imports import own_files
    from ..trial.protocol import ObjectiveSpec

    file = Path(found.file)
    needed = own_files(ObjectiveSpec(function=found.name, file=str(file), folder=str(file.parent)))
    inside = [path for path in needed if path.is_relative_to(file.parent)]
    code = {f"{CODE}/{path.relative_to(file.parent).as_posix()}": path for path in {file, *inside}}
    return How(file=f"{CODE}/{file.name}", function=found.name), code
