"""Studies whose children start from their parents' checkpoints."""

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file

STUDY = """
name: s
direction: minimize
space: {lr: {float: [0.1, 1]}}
sampler: {name: ageing, inherit: true}
budget: {trials: 9}
"""


def load(folder, rest, body="return 1.0"):
    (folder / "train.py").write_text(f"def objective(trial):\n    {body}\n")
    (folder / "study.yaml").write_text(STUDY + rest)
    return load_study_file(folder / "study.yaml")


def test_an_objective_that_saves_is_accepted(tmp_path):
    file = load(tmp_path, "objective: train.py:objective", "(trial.checkpoint_dir / 'x').write_text('')")
    assert file.sampler.args["inherit"] is True


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("objective: train.py:objective", "children start from their parents' checkpoints, and train.py saves none"),
        ("command: 'python3 train.py {lr}'", "is for Python objectives, which have trial.parent_checkpoint_dir"),
    ],
)
def test_others_are_refused(rest, words, tmp_path):
    with pytest.raises(UserError) as caught:
        load(tmp_path, rest)
    assert words in str(caught.value)
    assert "sampler.inherit" in str(caught.value)
