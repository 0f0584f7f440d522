"""Pools that list several shapes of blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.providers.blocks.batch_scripts import batch_scripts
from pilotune.providers.blocks.resources import TrialResources, keyed_shapes
from pilotune.providers.site import Shape, load_site, node_hours, render_site

SHAPES = "[{nodes: 1, walltime: 30m}, {nodes: 8, walltime: 2h}]"
SITE = f"""scheduler: slurm
pools:
  cpu:
    queue: normal
    shapes: {SHAPES}
    blocks: {{max: 4}}
    workers_per_node: 4
"""


def written(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in SITE
    path = folder / "site.yaml"
    path.write_text(SITE.replace(old, new, 1))
    return path


def test_each_shape_has_its_nodes_walltime_and_launcher(tmp_path):
    site = load_site(written(tmp_path))
    [pool] = site.pools
    assert pool.shapes == (Shape(1, 1800.0, "single"), Shape(8, 7200.0, "srun"))
    assert node_hours(pool) == 64.0, "four blocks of the largest shape"
    assert "0 to 4 blocks of (1 node for 30m or 8 nodes for 2h) x 4 workers, 64 node hours at most" in render_site(site)
    (tmp_path / "again.yaml").write_text(site.resolved())
    assert load_site(tmp_path / "again.yaml").pools == site.pools


def test_each_shape_has_a_script_of_its_own(tmp_path):
    site = load_site(written(tmp_path))
    (small, one), (large, eight) = batch_scripts(site, TrialResources(), tmp_path, "s-abcdef")
    assert (small.nodes_per_block, large.nodes_per_block) == (1, 8)
    for script, words in (
        (one, ("--nodes=1", "--time=30\n", "PILOTUNE_WALLTIME=1800", "exec ")),
        (eight, ("--nodes=8", "--time=120\n", "PILOTUNE_WALLTIME=7200", "srun --nodes=8")),
    ):
        assert all(word in script for word in words), script
        assert "PILOTUNE_BLOCK_TRIALS" not in script


def test_trials_on_several_nodes_use_the_shapes_that_hold_them_and_each_block_knows_how_many(tmp_path):
    site = load_site(
        written(tmp_path, "{nodes: 1, walltime: 30m}", "{nodes: 1, walltime: 30m}, {nodes: 4, walltime: 1h}")
    )
    resources = TrialResources(nodes=2)
    assert [each.nodes_per_block for each in keyed_shapes(site.pools[0], resources).values()] == [4, 8]
    scripts = batch_scripts(site, resources, tmp_path, "s-abcdef")
    for (_, text), trials in zip(scripts, (2, 4), strict=True):
        assert f"export PILOTUNE_BLOCK_TRIALS={trials}\n" in text
    assert list(keyed_shapes(site.pools[0], TrialResources(nodes=8))) == ["cpu"], "the only one that is left"


def test_one_shape_is_that_of_all_blocks(tmp_path):
    pool = load_site(written(tmp_path, SHAPES, "[{nodes: 2, walltime: 1h}]")).pool("cpu")
    assert (pool.nodes_per_block, pool.walltime, pool.launcher, pool.shapes) == (2, 3600.0, "srun", ())


def test_shapes_are_set_for_one_run(tmp_path):
    path = written(tmp_path)
    assert load_site(path, ["pools.cpu.shapes[0].walltime=1h"]).pool("cpu").shapes[0] == Shape(1, 3600.0)
    given = load_site("slurm", ["account=p", f"pools.cpu.shapes={SHAPES}"]).pool("cpu")
    assert [each.nodes for each in given.shapes] == [1, 8], "they replace the walltime of the file"
    with pytest.raises(UserError, match=r"--set pools\.cpu\.walltime: each shape has a walltime of its own"):
        load_site(path, ["pools.cpu.walltime=1h"])


MISTAKES = [
    ("walltime: 30m", "walltime: 0", "5: pools.cpu.shapes[0].walltime: must be a duration above 0"),
    ("walltime: 30m", "walltime: 30", "5: pools.cpu.shapes[0].walltime: '30' means 30 seconds; Slurm needs at least "
     "1m. Did you mean 30m?"),
    ("nodes: 8, walltime: 2h", "nodes: 1, walltime: 30m", "5: pools.cpu.shapes[1]: 1 node for 30m is there twice; "
     "leave one out"),
    ("nodes: 8", "nods: 8", "5: pools.cpu.shapes[1].nods: unknown key; did you mean 'nodes'?"),
    ("nodes: 8", "nodes_per_block: 8", "5: pools.cpu.shapes[1].nodes_per_block: unknown key; `nodes_per_block` is set "
     "with `nodes:` in a shape"),
    ("walltime: 2h", "time: 2h", "5: pools.cpu.shapes[1].time: unknown key; `time` is set with `walltime:`"),
    ("nodes: 1,", "nodes: 0,", "5: pools.cpu.shapes[0].nodes: must be a whole number of at least 1, but is 0"),
    ("scheduler: slurm", "scheduler: local", "5: pools.cpu.shapes: blocks of this machine are all alike; leave this "
     "key out"),
    ("queue: normal", "walltime: 1h", "4: pools.cpu.walltime: each shape has a walltime of its own; give shapes or "
     "walltime, not both"),
    ("queue: normal", "nodes_per_block: 2", "4: pools.cpu.nodes_per_block: each shape has nodes of its own; give "
     "shapes or nodes_per_block, not both"),
    ("queue: normal", "launcher: single", "4: pools.cpu.launcher: single starts workers on one node only, but a "
     "block has 8; use srun"),
    ("queue: normal", "options: ['#SBATCH --nodes=3']", "4: pools.cpu.options[0]: '#SBATCH --nodes=3' gives all "
     "blocks one size; leave it out, or leave out shapes"),
    (SHAPES, "[]", "5: pools.cpu.shapes: must be a list of shapes, as in [{nodes: 1, walltime: 30m}, "
     "{nodes: 8, walltime: 2h}], but is []"),
    (SHAPES, "[3]", "5: pools.cpu.shapes[0]: must be a mapping (key: value), but is 3"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_a_mistake_is_a_sentence_with_its_place(tmp_path, old, new, expected):
    with pytest.raises(UserError) as caught:
        load_site(written(tmp_path, old, new))
    assert f"{tmp_path}/site.yaml:{expected}" in str(caught.value)
