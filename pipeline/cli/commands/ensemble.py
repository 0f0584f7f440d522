"""``pilotune ensemble``: models that predict together, chosen from predictions that the trials have kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....errors import UserError
from ....grammar import count
from ...studies.formatting import cut, number, table
from ...studies.resolve import resolve_study
from ..options import json_option, name_argument, storage_option
from ..output_file import check_writable, writing
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...analysis import StudyData
    from ...ensemble.choice import Choice
    from ...ensemble.held import Predictions
    from ...studies.resolve import StudyLocation

RANGE = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,12}))?")
"""A trial, or the first and the last of several, in ``--without``."""

Files = Mapping[int, Mapping[str, Path]]
"""The artifacts of trials: by number and name, the file."""


@click.command("ensemble")
@name_argument()
@storage_option
@click.option("--members", type=click.IntRange(min=1), metavar="N",
              help="Different models at most; topk takes exactly N. Default: 8.")  # fmt: skip
@click.option("--select", type=click.Choice(["greedy", "topk"]), default="greedy", show_default=True,
              help="Add the model that helps most, again and again; or take the best ones.")  # fmt: skip
@click.option("--loss", type=click.Choice(["nll", "crps", "rmse", "accuracy"]), default="nll", show_default=True,
              help="What the ensemble is chosen by: nll for numbers and classes, crps and rmse for numbers, "
              "accuracy for classes.")  # fmt: skip
@click.option("--bags", type=click.IntRange(min=0, max=10_000), default=0, metavar="N",
              help="Choose greedily N times from half of the models, and average the weights.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of all draws. Default: 0.")
@click.option("--without", metavar="TRIALS", multiple=True, help="Leave out these trials: 7,12-15. May be repeated.")
@click.option("--predict", "predict", metavar="FILE.py:FUNCTION",
              help="The function that predicts with a member. Default: `predict` beside the objective.")  # fmt: skip
@click.option("--out", "-o", type=click.Path(path_type=Path), metavar="DIR",
              help="Write the ensemble to this new folder, for pilotune.ensemble.load.")  # fmt: skip
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Draw how well it is calibrated: .png, .svg, .pdf or .html.")  # fmt: skip
@json_option
def ensemble_command(
    name: str,
    storage: str | None,
    members: int | None,
    select: str,
    loss: str,
    bags: int,
    seed: int,
    without: tuple[str, ...],
    predict: str | None,
    out: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Choose models of a study that predict together, and compare them with the best one.

    NAME is a study's name or its study file. The models are chosen from the predictions that trials have kept for
    held-out rows, in the artifact held.npz: y, mean and std, or y and probabilities. Nothing is trained again. The
    comparison is on rows that the choice has not seen: those of check.npz, or a third of the rows of held.npz.

    \b
    pilotune ensemble my-study
    pilotune ensemble my-study --members 5 --loss crps --bags 20 --out best
    pilotune ensemble my-study --predict predict.py:predict -o best --plot calibration.png
    """
    if bags and select != "greedy":
        raise UserError(f"--bags {bags}: bags are of --select greedy; leave out one of both")
    _check_targets(out, picture)
    from ...analysis import read_study
    from ...ensemble.choice import choose

    study = resolve_study(name, storage)
    if study.folder is None:
        raise UserError(
            f"the run directories of {study.name!r} are not known here, and the predictions of its trials lie there; "
            "name the study as the account that runs it does"
        )
    data = read_study(study.storage, study.name)
    files = _files(data, study.folder, _numbers(data, without))
    held, check = _predictions(files)
    chosen = choose(held, check, members=members, select=select, loss=loss, bags=bags, seed=seed)
    about = _about(chosen, select=select, bags=bags, seed=seed)
    if out is not None:
        _save(out, study, data, chosen, files, predict, about)
    if picture is not None:
        _draw(picture, data, chosen)
    if as_json:
        echo_json({"study": data.name, "kind": held.kind, **about, "out": str(out) if out else None})
        return
    click.echo(_text(about))
    if out is not None:
        click.echo(f"wrote the ensemble of {count(len(chosen.members), 'member')} to {out}", err=True)
    if picture is not None:
        click.echo(f"wrote how well it is calibrated to {picture}", err=True)


def _check_targets(out: Path | None, picture: Path | None) -> None:
    """Refuse what cannot be written, before anything is computed."""
    from ...ensemble.saved import check_free
    from .plot import ENDINGS, ending_of

    if out is not None:
        check_writable(out.absolute())
        check_free(out)
    if picture is not None:
        if ending_of(picture) not in ENDINGS:
            raise UserError(
                f"--plot {picture}: cannot tell a form from {picture.name!r}; end it with "
                f"{', '.join(f'.{each}' for each in ENDINGS)}"
            )
        check_writable(picture)


def _numbers(data: StudyData, without: Sequence[str]) -> set[int]:
    """The trials of ``--without``."""
    found: set[int] = set()
    for word in (word.strip() for each in without for word in each.split(",")):
        ends = RANGE.fullmatch(word)
        word = cut(word, 40)
        if not ends:
            raise UserError(f"--without {word}: give numbers of trials, as in --without 7,12-15")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if last < first:
            raise UserError(f"--without {word}: the range ends before it begins")
        if data.trial(last) is None:
            raise UserError(f"--without {word}: study {data.name!r} has no trial {last}")
        found |= set(range(first, last + 1))
    return found


def _files(data: StudyData, folder: Path, without: set[int]) -> Files:
    """The artifacts of the complete trials that have kept predictions. Raises UserError if there are none."""
    from ...analysis.trial_facts import breaks_none
    from ...ensemble.held import HELD
    from ...record.artifacts import kept_artifacts

    complete = {trial.number for trial in data.trials if trial.state.name == "COMPLETE" and breaks_none(trial)}
    kept = kept_artifacts(folder)
    found = {each: files for each, files in kept.items() if HELD in files and each in complete - without}
    if not found:
        rest = "but for those of --without, " if without else ""
        raise UserError(
            f"{rest}no complete trial of {data.name!r} has kept predictions: the objective writes them to "
            f'trial.artifact("{HELD}"), and `trial: {{keep: {{artifacts: 50}}}}` in the study file says of how many '
            "trials they stay"
        )
    return found


def _predictions(files: Files) -> tuple[Predictions, Predictions | None]:
    """The predictions to choose by, and those to check with, if the trials have kept such."""
    from ...ensemble.held import CHECK, HELD, listed, read_predictions

    held = read_predictions({number: each[HELD] for number, each in files.items()})
    checks = {number: each[CHECK] for number, each in files.items() if CHECK in each}
    if not checks:
        return held, None
    if lacking := sorted(set(files) - set(checks)):
        what = f"trial {lacking[0]} has kept no {CHECK}, but trial {min(checks)} has"
        if len(checks) < len(lacking):
            what = f"trial {min(checks)} has kept {CHECK}, but trial {lacking[0]} has not"
        rare = min(lacking, list(checks), key=len)
        raise UserError(f"{what}; leave out such trials with --without {listed(rare)}")
    check = read_predictions(checks)
    if held.form != check.form:
        raise UserError(f"{CHECK} of trial {min(checks)} has {check.form}, and {HELD} {held.form}; both must be alike")
    return held, check


def _about(chosen: Choice, **how: Any) -> dict[str, Any]:
    """What is shown and saved: how the members were chosen, who they are, and how good they are."""
    trials = chosen.predictions.trials
    members = [
        {"trial": trials[model], "weight": float(chosen.weights[model]), chosen.score: chosen.own(model)}
        for model in chosen.members
    ]
    return {
        "selection": {**how, "loss": chosen.loss, "models": len(trials), "rows": len(chosen.predictions.y)},
        "members": members,
        "check": {
            "rows": len(chosen.check.y),
            "best": {"trial": trials[chosen.best], **chosen.scores(chosen.alone(chosen.best))},
            "ensemble": chosen.scores(chosen.weights),
        },
    }


def _text(about: Mapping[str, Any]) -> str:
    """The tables."""
    from ...ensemble.choice import TITLES

    selection, members, check = about["selection"], about["members"], about["check"]
    *_, score = members[0]
    head = ["trial", "weight", TITLES[score]]
    lines = [[str(each["trial"]), f"{each['weight']:.3f}", number(each[score])] for each in members]
    best = {name: value for name, value in check["best"].items() if name != "trial"}
    rows = [[f"trial {check['best']['trial']}, the best", *map(number, best.values())],
            ["the ensemble", *map(number, check["ensemble"].values())]]  # fmt: skip
    titles = [TITLES[name] for name in best]
    by = "greedy selection" if selection["select"] == "greedy" else "the best models"
    return "\n".join(
        [
            f"{by} from {count(selection['models'], 'model')}, on {count(selection['rows'], 'row')}:",
            table(head, lines, right=head),
            "",
            f"on {count(check['rows'], 'row')} that the selection has not seen:",
            table(["", *titles], rows, right=titles),
        ]
    )


def _save(
    out: Path,
    study: StudyLocation,
    data: StudyData,
    chosen: Choice,
    files: Files,
    predict: str | None,
    about: Mapping[str, Any],
) -> None:
    """Write the ensemble."""
    from ...analysis import best_params
    from ...ensemble.members import Member
    from ...ensemble.saved import save
    from ...studies.ensemble_code import how_members_predict

    predictions = chosen.predictions
    _check_models([predictions.trials[model] for model in chosen.members], files)
    members = [
        Member(trial, float(chosen.weights[model]), best_params(data, trial), dict(files[trial]))
        for model in chosen.members
        for trial in (predictions.trials[model],)
    ]
    how, code = how_members_predict(predict, study.study_file, data, members)
    with writing(out):
        save(out, study=data.name, kind=predictions.kind, outputs=predictions.outputs, members=members, how=how,
             code=code, about=about)  # fmt: skip


def _check_models(members: Sequence[int], files: Files) -> None:
    """Refuse members that have kept nothing but predictions, where other trials have kept more: their models."""
    from ...ensemble.held import CHECK, HELD, listed

    models = {trial: sorted(set(each) - {HELD, CHECK}) for trial, each in files.items()}
    others = [trial for trial, names in models.items() if names]
    lacking = sorted(trial for trial in members if not models[trial])
    if lacking and others:
        raise UserError(
            f"trial {lacking[0]} has kept only its predictions, but trial {others[0]} also {models[others[0]][0]!a}; "
            f"leave out such trials with --without {listed([trial for trial, names in models.items() if not names])}"
        )


def _draw(picture: Path, data: StudyData, chosen: Choice) -> None:
    """Draw the calibration of the best model and of the ensemble."""
    from ...analysis.plots.calibration import calibration
    from ...ensemble.choice import calibration_curves
    from .plot import write

    trial = chosen.predictions.trials[chosen.best]
    said, found, caption, curves = calibration_curves(chosen, f"trial {trial}")
    write(data, [calibration(f"Calibration of an ensemble of {data.name}", curves, said, found, caption)], picture)
