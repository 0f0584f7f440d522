"""What is said of shapes of blocks in which no trial of a study begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.pipeline.driver.hours import hours_plan
from pilotune.pipeline.driver.trial_fit import shape_notes
from pilotune.providers.site import load_site
from tests.driver.test_hours import study_of

SITE = """scheduler: slurm
pools:
  cpu:
    shapes:
      - {nodes: 1, walltime: 30m}
      - {nodes: 4, walltime: 2h}
"""


@pytest.mark.parametrize(
    ("trial", "note"),
    [
        ("{}", ""),
        ("{expected: 20m}", ""),
        ("{expected: 1h}", "site.yaml:5: pools.cpu.shapes[0]: no trial of this study begins in such a block: a trial "
         "is expected to run 1h"),
        ("{expected: 5h}", ""),  # it goes on from checkpoints, in all shapes
        ("{nodes: 2}", "site.yaml:5: pools.cpu.shapes[0]: no trial of this study begins in such a block: a trial needs "
         "2 nodes"),
    ],
)  # fmt: skip
def test_a_shape_that_holds_no_trial_is_named_with_its_line(tmp_path: Path, trial: str, note: str) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    study = study_of(tmp_path, "budget: {node_hours: 10}", trial)
    site = load_site(tmp_path / "site.yaml")
    found = [each.replace(f"{tmp_path}/", "") for each in shape_notes(study, site)]
    assert found == ([note] if note else [])
    keys = list(hours_plan(study, site).pools)
    assert keys == (["cpu"] if "nodes" in trial else ["cpu/0", "cpu/1"])
