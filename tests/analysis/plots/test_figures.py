"""What each kind of plot shows, and what it says where it shows nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pilotune.errors import UserError
from pilotune.pipeline.analysis import StudyData
from pilotune.pipeline.analysis.plots import KINDS, DoesNotSuit, NothingToShow, image, make, page, text
from pilotune.pipeline.analysis.plots.figure import Figure, Line, Panel, Parallel, Points, Spans, short
from pilotune.pipeline.analysis.plots.image import drawn
from pilotune.pipeline.analysis.plots.timing import attempts_of
from pilotune.pipeline.attributes import BLOCKS
from pilotune.pipeline.cli.plot_kinds import KINDS as OPTION
from pilotune.pipeline.cli.plot_kinds import TEXT

SPACE: dict[str, Any] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "layers": IntDistribution(1, 5),
    "$optimizer<b>": CategoricalDistribution(("sgd", "adam", None)),
}
START = datetime(2026, 1, 1)


def trials(amount: int = 40, values: int = 1) -> tuple[FrozenTrial, ...]:
    """Complete, pruned and failed trials on two workers."""
    random, made = np.random.default_rng(0), []
    for number in range(amount):
        params = {"lr": float(10 ** random.uniform(-5, -1)), "layers": int(random.integers(1, 6))}
        distributions = {"lr": SPACE["lr"], "layers": SPACE["layers"]}
        if number % 4:  # conditional
            params |= {"$optimizer<b>": ("sgd", "adam", None)[number % 3]}
            distributions |= {"$optimizer<b>": SPACE["$optimizer<b>"]}
        state = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)[number % 4]
        value = abs(np.log10(params["lr"]) + 3) + 0.1 * params["layers"]
        reports = {step: value + 1.0 / step for step in (1, 3, 9)[: 3 if state == TrialState.COMPLETE else 2]}
        one = create_trial(
            state=state,
            values=[value] * values if state == TrialState.COMPLETE else None,
            params=params,
            distributions=distributions,
            intermediate_values=reports if values == 1 and state != TrialState.FAIL else {},
            user_attrs={"pilotune:seconds_running": 9.0, "pilotune:seconds_waiting": 1.0, "pilotune:host": "n1"},
            system_attrs={"pilotune:details": {"worker": f"n1/{number % 2}", "block": "0", "pool": "cpu"}},
        )
        one.number, one.datetime_start = number, START + timedelta(seconds=5 * number)
        one.datetime_complete = one.datetime_start + timedelta(seconds=10)
        made.append(one)
    return tuple(made)


def study(values: int = 1, found: Sequence[FrozenTrial] | None = None, **system: Any) -> StudyData:
    metrics = ("loss",) if values == 1 else tuple(f"loss{i}" for i in range(values))
    found = trials(values=values) if found is None else found
    return StudyData("", "digits", ("minimize",) * values, metrics, tuple(found), {}, system_attrs=system)


@cache
def figures(values: int = 1) -> dict[str, Figure]:
    """All figures that suit the study, made once for all tests."""
    return {figure.kind: figure for figure in make(study(values, **(BLOCK if values == 1 else {})))}


T0 = START.timestamp()
BLOCK = {BLOCKS + "c1:0": [["cpu", "0", "17", T0 - 60, T0, T0 + 300, 2, 1, "its walltime was over"],
                           ["cpu", "1", "18", T0, None, T0 + 200, 0, 1, "cancelled"]]}  # fmt: skip


def test_the_options_of_the_command_line_are_the_kinds_there_are() -> None:
    assert list(KINDS) == list(OPTION)
    assert set(TEXT) <= set(OPTION)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pareto"])
def test_every_kind_has_a_title_a_caption_numbers_and_axes_with_labels(kind: str) -> None:
    figure = figures()[kind]
    assert figure.kind == kind
    assert figure.caption.endswith(".")
    assert len(figure.table)
    assert figure.main
    for panel in figure.panels:
        labels = [axis.label for axis in panel.axes] if isinstance(panel, Parallel) else [panel.x.label]
        assert all(labels)


def test_all_that_suit_are_made_where_none_is_named() -> None:
    assert list(figures()) == [kind for kind in KINDS if kind != "pareto"]
    assert list(figures(2)) == [
        "history", "pareto", "importance", "slice", "parallel", "contour", "timeline", "utilization", "cost"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("pareto", study(), "has one objective; the plot pareto needs several"),
        ("curves", study(2), "no trial of 'digits' has reported a value"),
        ("blocks", study(), "has no record of its blocks"),
        ("slice", study(found=[]), "the plot slice of 'digits' has nothing to show: the study has no trials"),
        ("timeline", study(found=[]), "has run to its end"),
        ("history", study(found=[]), "nothing to show: the study has no trials"),
        ("importance", study(found=trials(1)), "importance needs at least two"),
        ("contour", study(found=trials(2)), "2 complete trials with finite values; the plot contour needs 4"),
    ],
)
def test_a_kind_that_does_not_suit_is_one_sentence(kind: str, data: StudyData, sentence: str) -> None:
    with pytest.raises(DoesNotSuit, match=sentence) as caught:
        make(data, [kind])
    assert "\n" not in str(caught.value)


def test_an_empty_study_has_nothing_to_plot() -> None:
    with pytest.raises(DoesNotSuit, match="nothing to plot"):
        make(study(found=[]))


def unfinished() -> list[FrozenTrial]:
    """Three running trials, which have reported, one that failed, and one that waits."""
    running = [create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.5}) for _ in range(3)]
    found = [*running, create_trial(state=TrialState.FAIL), create_trial(state=TrialState.WAITING)]
    for number, each in enumerate(found):
        each.number = number
    return found


@pytest.mark.parametrize("kind", ["history", "slice", "parallel", "contour"])
def test_a_kind_with_nothing_to_show_yet_says_what_there_is(kind: str) -> None:
    data = study(found=unfinished())
    with pytest.raises(NothingToShow) as caught:
        make(data, [kind])
    there = "no trial has completed; 3 are running, 1 failed, 1 is waiting"
    assert (str(caught.value), caught.value.exit_code) == (
        f"the plot {kind} of 'digits' has nothing to show: {there}",
        1,
    )


def test_reports_and_values_that_are_not_finite_are_nothing_to_show() -> None:
    found = create_trial(value=float("inf"), intermediate_values={1: float("nan")})
    for kind, sentence in (("history", "none of 1 complete trial has a finite value"), ("curves", "a finite value")):
        with pytest.raises(NothingToShow, match=sentence):
            make(study(found=[found]), [kind])


def test_what_can_never_be_shown_is_a_mistake() -> None:
    with pytest.raises(DoesNotSuit) as caught:
        make(study(), ["pareto"])
    assert caught.value.exit_code == 2


def test_a_front_without_feasible_trials_is_empty() -> None:
    found = [create_trial(values=[1.0, float(number)], system_attrs={"constraints": [1.0]}) for number in range(3)]
    for number, each in enumerate(found):
        each.number = number
    (figure,) = make(study(2, found), ["pareto"])
    assert figure.caption.startswith("3 of 3 trials; 0 trials on the Pareto front")
    assert image(figure, "png")


@pytest.mark.parametrize("kind", ["history", "curves", "importance", "slice", "parallel", "contour"])
def test_a_caption_says_how_many_of_all_trials_are_drawn(kind: str) -> None:
    shown = 30 if kind in ("history", "curves") else 20
    assert f"{shown} of 40 trials" in figures()[kind].caption


def test_unknown_metrics_and_parameters_are_named() -> None:
    with pytest.raises(UserError, match="no metric 'accuracy'; it has loss"):
        make(study(), ["history"], metric="accuracy")
    with pytest.raises(UserError, match="no parameter 'layer'; did you mean 'layers'"):
        make(study(), ["slice"], parameters=["layer"])


def test_history_has_the_best_value_of_those_that_keep_the_constraints() -> None:
    found = [create_trial(value=value, system_attrs={"constraints": [broken]})
             for value, broken in ((3.0, 0.0), (1.0, 1.0), (2.0, -1.0), (5.0, 0.0))]  # fmt: skip
    for number, each in enumerate(found):
        each.number = number
    (figure,) = make(study(found=found), ["history"])
    assert figure.table["best"].tolist() == [3.0, 3.0, 2.0, 2.0]
    assert dict(figure.main)["best trial"] == 2


def test_a_value_that_is_far_off_does_not_hide_the_others() -> None:
    found = [*trials(), create_trial(value=1e12)]
    found[-1].number = 40
    (figure,) = make(study(found=found), ["history"])
    (panel,) = figure.panels
    assert isinstance(panel, Panel)
    assert panel.y.limits is not None
    assert panel.y.limits[1] < 100
    assert figure.table["value"].max() == 1e12


def test_slices_have_logarithmic_axes_choices_and_whole_numbers() -> None:
    (figure,) = make(study(), ["slice"])
    axes = {panel.x.label: panel.x for panel in figure.panels if isinstance(panel, Panel)}
    assert (axes["lr"].log, axes["layers"].whole, axes["lr"].whole) == (True, True, False)
    assert [name for _, name in axes["$optimizer<b>"].ticks] == ["sgd", "adam", "null"]
    assert next(iter(axes)) == "lr", "what matters most comes first"


def test_parallel_has_a_place_for_trials_without_a_parameter() -> None:
    (figure,) = make(study(), ["parallel"], parameters=["$optimizer<b>"])
    (panel,) = figure.panels
    assert isinstance(panel, Parallel)
    assert panel.axes[1].ticks[0][1] == "not set"
    assert np.isfinite(panel.lines).all()


def test_curves_show_rungs_and_the_best_trial() -> None:
    (figure,) = make(study(), ["curves"])
    (panel,) = figure.panels
    assert isinstance(panel, Panel)
    assert {mark.name for mark in panel.marks if isinstance(mark, Line)} >= {"pruned", "complete", "rung"}
    assert "10 at step 3" in figure.caption


def test_the_pareto_front_is_that_of_optuna() -> None:
    random = np.random.default_rng(3)
    found = [create_trial(values=list(map(float, random.integers(0, 9, 2)))) for _ in range(60)]
    for number, each in enumerate(found):
        each.number = number
    data = StudyData("", "s", ("minimize", "maximize"), ("a", "b"), tuple(found), {})
    (figure,) = make(data, ["pareto"])
    theirs = optuna.create_study(directions=["minimize", "maximize"])
    theirs.add_trials(found)
    ours = figure.table[figure.table["on_front"]]["trial"].tolist()
    assert ours == sorted(each.number for each in theirs.best_trials)


def test_the_timeline_has_a_row_a_worker_and_bars_that_begin_when_trials_run() -> None:
    (figure,) = make(study(), ["timeline"])
    (panel,) = figure.panels
    assert isinstance(panel, Panel)
    assert [name for _, name in panel.y.ticks] == ["n1/1", "n1/0"]
    complete = next(mark for mark in panel.marks if isinstance(mark, Spans) and mark.name == "complete")
    assert (complete.start[0], complete.length[0]) == (0.0, 9.0)
    assert complete.labels[0] == "trial 0: complete, ran 9 s, waited 1 s"


def test_blocks_tell_the_wait_in_the_queue_and_node_hours() -> None:
    (figure,) = make(study(**BLOCK), ["blocks"])
    assert figure.caption.startswith("2 blocks, 1 of which ran; in the queue 60 s in the median, 60 s at most; 0.08333")
    assert dict(figure.main)["node-hours"] == 0.08333


def _long() -> StudyData:
    """A study whose names have 200 letters, which begin alike."""
    names = ("p" * 200 + "1", "p" * 200 + "2")
    space = {names[0]: FloatDistribution(0, 1), names[1]: CategoricalDistribution(("x" * 200, "y" * 200))}
    found = []
    for number in range(12):
        params = {names[0]: number / 12, names[1]: "xy"[number % 2] * 200}
        found.append(create_trial(value=float(number), params=params, distributions=space))
        found[-1].number = number
    return StudyData("", "s" * 200, ("minimize",), ("m" * 200,), tuple(found), {})


LONG = _long()


@pytest.mark.parametrize("kind", ["history", "importance", "slice", "parallel", "contour"])
def test_long_names_are_shortened_in_pictures_and_whole_in_titles_and_numbers(kind: str) -> None:
    (figure,) = make(LONG, [kind])
    bare = image(figure, "svg", bare=True).decode()
    assert "…" in bare
    assert "p" * 60 not in bare
    assert "m" * 60 not in bare
    assert "p" * 200 + "1" in figure.table.to_csv() or "m" * 200 in figure.title
    html = page("t", [figure]).decode()
    assert "m" * 200 in html, "the heading has the whole name"


def test_a_shortened_name_keeps_its_beginning_and_its_end() -> None:
    assert short("a" * 60 + "_1", 10) == "aaaaa…aa_1"
    assert short("a" * 10, 10) == "a" * 10


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_pictures(form: str) -> None:
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form]
    chosen = {"png": ["curves", "slice", "contour", "pareto", "timeline"], "svg": ["history", "parallel", "blocks"],
              "pdf": ["utilization", "cost", "importance"]}[form]  # fmt: skip
    for kind in chosen:
        assert image((figures() | figures(2))[kind], form).startswith(begins)


@pytest.mark.parametrize("kind", ["history", "slice", "parallel"])
def test_a_name_with_dollars_is_no_formula(kind: str) -> None:
    named = replace(study(), metrics=("loss $x^$",))
    (figure,) = make(named, [kind])
    assert b"loss $x^$" in image(figure, "svg")


def test_what_chance_reaches_is_inside_the_picture() -> None:
    panel = figures()["importance"].panels[0]
    assert isinstance(panel, Panel)
    assert panel.x.limits is not None
    for mark in panel.marks:
        if isinstance(mark, Points):
            assert mark.x.max() <= panel.x.limits[1]


def test_the_series_of_a_text_have_marks_of_their_own() -> None:
    for figure in make(study(2), TEXT, skip=True):
        names = text(figure, 80, colour=False).splitlines()[-2].split("   ")
        assert len({name[0] for name in names}) == len(names), names


def test_a_page_has_all_figures_needs_no_network_and_escapes_names(tmp_path: Path) -> None:
    written = page("Study <b>", list(figures().values())).decode()
    assert written.count("<figure") == 10
    assert "<title>Study &lt;b&gt;</title>" in written
    assert "<script src" not in written
    assert "$optimizer<b>" not in written


def test_text_of_the_kinds_that_a_terminal_can_show() -> None:
    drawn = [text(figure, 80, colour=False) for figure in make(study(2), TEXT, skip=True)]
    assert len(drawn) == len(TEXT)
    assert all("\x1b" not in each and max(map(len, each.splitlines()[:-1])) <= 90 for each in drawn)
    assert "best so far" in drawn[0]


def test_many_trials_are_all_in_the_numbers_and_some_of_them_in_the_lines() -> None:
    found = []
    for number in range(2_100):
        x = number / 2_100
        found.append(create_trial(value=x, params={"x": x}, distributions={"x": FloatDistribution(0, 1)}))
        found[-1].number = number
    (figure,) = make(study(found=found), ["parallel"])
    (panel,) = figure.panels
    assert isinstance(panel, Parallel)
    assert len(panel.lines) <= 1_000
    assert panel.scale.min() == 0.0
    assert len(figure.table) == 2_100


def test_dots_know_their_trials() -> None:
    (figure,) = make(study(), ["history"])
    (panel,) = figure.panels
    assert isinstance(panel, Panel)
    dots = [mark for mark in panel.marks if isinstance(mark, Points)]
    assert all(list(mark.trials) == mark.x.tolist() for mark in dots)


def test_panels_beside_each_other_have_the_numbers_of_a_common_axis_once() -> None:
    axes = drawn(figures()["slice"]).axes
    labels = [each.get_ylabel() for each in axes if each.get_ylabel() != "trial"]
    assert labels == ["loss (minimize)", "", ""]
    assert len({each.get_ylim() for each in axes[:3]}) == 1


@pytest.mark.parametrize("form", ["png", "svg"])
def test_a_picture_is_drawn_once(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure as Canvas

    draws, real = [], Canvas.draw

    def counted(canvas: Any, renderer: Any) -> None:
        draws.append(renderer)
        real(canvas, renderer)

    monkeypatch.setattr(Canvas, "draw", counted)
    image(figures()["curves"], form)
    assert len(draws) == 1


def test_pictures_import_neither_scikit_learn_nor_pandas() -> None:
    code = (
        "import sys\n"
        "from tests.analysis.plots.test_figures import BLOCK, study\n"
        "from pilotune.pipeline.analysis.plots import image, make\n"
        "for figure in make(study(**BLOCK)):\n"
        "    image(figure, 'png')\n"
        "print({'sklearn', 'scipy', 'pandas', 'plotly'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pareto"])
def test_many_trials_are_drawn_with_as_many_artists_as_few(kind: str) -> None:
    few, many = (len(drawn(make(study(found=trials(amount), **BLOCK), [kind])[0]).findobj()) for amount in (40, 400))
    assert many < few + 150, "more ticks, but nothing for each trial"


def test_the_attempts_are_found_once_for_all_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "pilotune.pipeline.analysis.plots.trials.attempts_of", lambda *args: calls.append(args) or attempts_of(*args)
    )
    make(study(**BLOCK), ["timeline", "utilization", "cost"])
    assert len(calls) == 1
