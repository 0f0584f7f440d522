"""What is written under another tool's name, or in another section, in a study file, is answered with what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file

STUDY = """\
name: s
objective: branin
direction: minimize
space: {x: {float: [-5, 10]}, y: {float: [0, 15]}}
budget: {trials: 3}
"""

KEYS = [
    ("n_trials: 3", "n_trials: unknown key; write `budget: {trials: N}`"),
    ("max_time: 3h", "max_time: unknown key; write `budget: {time: 4h}`"),
    ("trials: 3", "trials: unknown key; `trials` stands in `budget`"),
    ("timeout: 3m", "timeout: unknown key; `timeout` stands in `trial`"),
    ("gpus: 1", "gpus: unknown key; `gpus` stands in `trial`"),
    ("parameters: {}", "parameters: unknown key; write `space:`"),
    ("search-space: {}", "search-space: unknown key; write `space:`"),
    ("mode: max", "mode: unknown key; write `direction: minimize` or `maximize`"),
    ("metric: loss", "metric: unknown key; write `metrics: [NAME]`"),
    ("seed: 1", "seed: unknown key; write `sampler: {seed: N}`"),
    ("algorithm: tpe", "algorithm: unknown key; write `sampler:`"),
    ("scheduler: asha", "scheduler: unknown key; write `pruner:`"),
    ("database: x", "database: unknown key; write `storage:`"),
    ("n_jobs: 3", "n_jobs: unknown key; write `workers_per_node` of a pool in the site file"),
    ("site: polaris", "site: unknown key; write `--site` on the command line"),
    ("walltime: 1h", "walltime: unknown key; `walltime` is of the site file, which `--site` names"),
    ("enqueue: []", "enqueue: unknown key; `enqueue` stands in `start_from`"),
    ("trial: {trials: 3}", "trial.trials: unknown key; `trials` stands in `budget`"),
    ("trial: {pruner: asha}", "trial.pruner: unknown key; `pruner` stands at the top of the file"),
    ("directoin: x", "directoin: unknown key; did you mean 'direction'?"),
    ("tria: {}", "tria: unknown key; did you mean 'trial'?"),
]


@pytest.mark.parametrize(("line", "words"), KEYS, ids=[line for line, _ in KEYS])
def test_a_key_under_another_name_or_in_another_section(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "study.yaml").write_text(f"{STUDY}{line}\n")
    with pytest.raises(UserError) as caught:
        load_study_file(tmp_path / "study.yaml")
    assert str(caught.value).replace(f"{tmp_path}/", "") == f"study.yaml:6: {words}"
