"""What a report says, and that what users wrote cannot change the page."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from pilotune.pipeline.analysis import StudyData, tables
from pilotune.pipeline.analysis.plots import figures_that_suit
from pilotune.pipeline.analysis.report import facts, report
from pilotune.pipeline.analysis.report.parts import Section
from pilotune.pipeline.analysis.report.study_facts import saved
from pilotune.pipeline.analysis.tables import Row, rows
from pilotune.pipeline.attributes import DEFINITION, LEASE, REASON, SETUP, VERSION

from ..plots.test_figures import BLOCK, study, trials

SPACE = {"parameters": {"lr": {"kind": "float", "low": 1e-5, "high": 0.1, "log": True},
                        "momentum": {"kind": "float", "low": 0.0, "high": 0.9, "when": {"opt": ["sgd", "adam"]}},
                        "opt": {"kind": "choice", "choices": ["sgd", None]}}, "constants": {"epochs": 9}}  # fmt: skip
LEFT = {
    DEFINITION: {"space": SPACE},
    LEASE + "c1": {"host": "login1", "started": 1.8e9, "heartbeat": 1.8e9 + 60, "state": "ended"},
    SETUP + "c1": {"site": "theta", "scheduler": "slurm", "python": "3.12.1", "versions": {"optuna": "5.0.0"},
                   "study": "name: digits\n"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only plots that are drawn quickly: the others have tests of their own."""
    quick = functools.partial(figures_that_suit, kinds=("history", "timeline"))
    monkeypatch.setattr("pilotune.pipeline.analysis.report.study_facts.figures_that_suit", quick)


def sections(data: StudyData) -> dict[str, Section]:
    (found,) = facts([data])
    return {section.key: section for section in found.sections}


def cells(section: Section) -> list[tuple[str, ...]]:
    return [tuple(row) for table in section.tables for row in table.rows]


def test_it_says_what_was_asked() -> None:
    found = sections(study(**LEFT))["asked"]
    assert found.text == ["To minimize loss."]
    assert ("lr", "float", "1e-05 to 0.1, logarithmic", "always") in cells(found)
    assert ("momentum", "float", "0 to 0.9", "opt: sgd or adam") in cells(found)
    assert ("opt", "choice", "sgd, null", "always") in cells(found)
    assert ("epochs", "9") in cells(found)


def test_a_study_of_plain_optuna_shows_its_distributions() -> None:
    assert ("layers", "int", "1 to 5", "") in cells(sections(study())["asked"])


def test_it_says_what_came_out_and_that_noise_is_unknown() -> None:
    found = sections(study())["result"]
    assert found.text[0].startswith("The best is trial ")
    assert found.text[1] == "Trials were not repeated, so how much of a difference is noise is not known."
    assert ("all", "40") in cells(found)
    values = [float(row[1]) for row in found.tables[-1].rows]
    assert values == sorted(values), "the best first"


def test_repeated_trials_have_an_interval_and_those_that_are_as_good() -> None:
    found = []
    for number, values in enumerate(([0.9, 1.1, 1.0], [0.95, 1.15, 1.0], [9.0, 9.1, 9.2])):
        repeats = [{"token": f"{number}.{i + 1}.c1", "seed": i, "values": [value], "constraints": {}}
                   for i, value in enumerate(values)]  # fmt: skip
        found.append(create_trial(value=sum(values) / 3, system_attrs={"pilotune:repeats": repeats}))
        found[-1].number = number
    text = sections(study(found=found))["result"].text
    assert "with a probability of 90 %" in text[1]
    assert text[2] == "1 trial cannot be told apart from it: 1."


def test_it_counts_failures_by_cause() -> None:
    found = [create_trial(state=TrialState.FAIL, user_attrs={REASON: reason, "pilotune:exit": "exception"})
             for reason in ("no disk", "diverged", "diverged")]  # fmt: skip
    for number, each in enumerate(found):
        each.number = number
    section = sections(study(found=found))["failures"]
    assert section.text == ["3 trials failed (100 %)."]
    assert cells(section) == [("exception", "2", "1", "diverged"), ("exception", "1", "0", "no disk")]


def test_it_says_where_trials_ran_and_how_blocks_waited() -> None:
    section = sections(study(**BLOCK))["places"]
    assert section.text == ["40 attempts on 1 node in 2 blocks."]
    assert ("cpu 0", "17", "1", "2", "60 s", "5 min", "its walltime was over") in cells(section)


def test_pruning_saved_what_pruned_trials_would_have_run_longer() -> None:
    found = rows(study())
    short = [dataclasses.replace(row, seconds=100.0 if row.state == "complete" else 10.0) for row in found]
    first, second = saved(short)
    assert first == "10 trials pruned, after 10 s in the median."
    assert "taken 15 min more: pruning saved about 29 % of the time" in second
    assert saved([row for row in found if row.state != "pruned"]) == ["No trial was pruned."]


def test_it_names_campaigns_versions_and_the_study_file() -> None:
    found = sections(dataclasses.replace(study(**LEFT), user_attrs={VERSION: "0.1.0"}))
    assert ("created by", "Pilotune 0.1.0") in cells(found["environment"])
    (campaign,) = [row for row in cells(found["environment"]) if row[0] == "c1"]
    assert campaign[3:] == ("theta", "slurm", "login1", "Python 3.12.1, optuna 5.0.0")
    assert found["reproduce"].code.endswith("\nname: digits\n")


@pytest.mark.parametrize("data", [study(found=[]), study(2), study(found=trials(1))])
def test_it_is_written_of_any_study(data: StudyData) -> None:
    assert report([data]).startswith(b"<!DOCTYPE html>")


def test_what_others_wrote_into_the_attributes_does_not_break_it() -> None:
    broken: dict[str, Any] = {DEFINITION: 7, LEASE + "c1": {"started": "soon"}, SETUP + "c1": [], SETUP + "c2": {}}
    found = sections(study(**broken))
    assert found["reproduce"].code.startswith("pilotune export")


def test_names_and_messages_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    failed = create_trial(state=TrialState.FAIL, user_attrs={REASON: evil, "pilotune:exit": evil})
    data = study(found=[*trials(8), failed], **{SETUP + "c1": {"study": evil}, LEASE + "c1": {"host": evil}})
    written = report([dataclasses.replace(data, name=evil, metrics=(evil,))]).decode()
    assert "<script" not in written
    assert "&lt;script&gt;" in written


def test_a_study_without_results_has_a_sentence_instead_of_plots() -> None:
    found = create_trial(state=TrialState.RUNNING)
    plots = sections(study(found=[found]))["plots"]
    assert (plots.text, plots.figures) == (["There is nothing to draw: no trial has completed; 1 is running."], [])
    first, *_ = facts([study(found=[found]), dataclasses.replace(study(found=[]), name="other")])
    assert first.sections[0].text == [
        "No trial of any of the studies has completed, so there are no values to compare."
    ]
    assert first.sections[0].figures == ()


def test_several_studies_are_compared() -> None:
    other = dataclasses.replace(study(), name="other")
    first, *_ = facts([study(), other])
    (section,) = first.sections
    assert section.text == ["The best value of all is that of digits."]
    assert section.tables[0].head == ("", "digits", "other")
    (figure,) = section.figures
    assert {line.name for line in figure.panels[0].marks} == {"digits", "other"}  # type: ignore[union-attr]


def test_studies_with_different_objectives_are_not_drawn_together() -> None:
    first, *_ = facts([study(), dataclasses.replace(study(2), name="pair")])
    assert first.sections[0].text == ["The studies have different objectives, so their values are not drawn together."]
    assert first.sections[0].figures == ()


def test_its_headings_are_in_order_and_its_tables_have_headers() -> None:
    written = report([study(**BLOCK), dataclasses.replace(study(), name="other")]).decode()
    levels = [int(level) for level in re.findall(r"<h(\d)", written)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert written.count("<table>") == written.count("<caption>") == written.count("<thead>")
    assert len(re.findall(r"<th(?: scope=|ead>)", written)) == len(re.findall(r"<th\b|<thead\b", written))
    assert all(re.findall(r'<img src="data:image/svg[^"]*" alt="[^"]{20,}">', written))
    assert len(re.findall(r"<img", written)) == len(re.findall(r'alt="[^"]{20,}"', written))
    ids = re.findall(r' id="([^"]+)"', written)
    assert len(ids) == len(set(ids))


def test_each_trial_becomes_a_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = tables.row_of

    def counted(trial: FrozenTrial, *args: Any, **named: Any) -> Row:
        made.append(trial.number)
        return real(trial, *args, **named)

    monkeypatch.setattr(tables, "row_of", counted)
    facts([study(**BLOCK, **LEFT)])
    assert sorted(made) == list(range(40))
