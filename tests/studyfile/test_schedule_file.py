"""Files of schedules: what `export --schedule` and `best --json` write is read, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile.params_file import read_params
from pilotune.pipeline.studyfile.schedule_file import is_schedule, read_schedule

STAGES = [{"from": 0, "trial": 3, "params": {"lr": 0.1}}, {"from": 4, "trial": 7, "params": {"lr": 0.2}}]


def test_a_schedule_is_read_from_what_the_commands_write(tmp_path: Path) -> None:
    for name, whole in (
        ("schedule.json", {"schedule": STAGES}),
        ("best.json", {"study": "s", "best": [{"params": {"lr": 0.2}}], "schedule": STAGES}),
    ):
        (tmp_path / name).write_text(json.dumps(whole))
        source = read_params(tmp_path / name)
        assert is_schedule(source)
        assert [(stage.start, stage.params.data) for stage in read_schedule(source)] == [
            (0, {"lr": 0.1}),
            (4, {"lr": 0.2}),
        ]


def test_a_parameter_may_be_called_schedule(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("schedule: cosine\nlr: 0.1\n")
    assert read_params(tmp_path / "p.yaml").data == {"schedule": "cosine", "lr": 0.1}


def test_what_best_prints_of_a_copy_is_no_whole_recipe(tmp_path: Path) -> None:
    text = "trial  7\n  lr   0.2\n\nIts schedule:\nsteps   trial   lr\n1 to 4      3  0.1\n5 on        7  0.2\n"
    (tmp_path / "best.txt").write_text(text)
    with pytest.raises(UserError, match="its parameters alone do not lead to it; `pilotune export NAME --schedule"):
        read_params(tmp_path / "best.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schedule: []", ":1: schedule: must be a list of stages"),
        ("schedule: {from: 0, params: {lr: 1}}", ":1: schedule: must be a list of stages"),
        ("schedule: [7, null]", "schedule[0]: must be a stage, as in {from: 4, params: {lr: 0.01}}, but is 7"),
        ("schedule:\n- from: 0\n  parms: {lr: 1}", ":3: schedule[0].parms: there is no such key of a stage; did you"),
        ("schedule:\n- from: 0", "schedule[0]: needs `params`, a mapping"),
        ("schedule:\n- {from: 2, params: {lr: 1}}", "schedule[0].from: must be 0 in the first stage, but is 2"),
        ("schedule:\n- {from: 0, params: {}}\n- {from: 0, params: {}}", ":3: schedule[1].from: must be above 0"),
        ("schedule:\n- {from: a, params: {lr: 1}}", "a whole number from 0, but is 'a'"),
        ("schedule:\n- {from: 0, params: {}}\nlr: 1", ":3: lr: is beside a schedule"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "schedule.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_params(tmp_path / "schedule.yaml")
    assert words in str(caught.value)
