"""``trial.pools`` and ``placement``: which pools may run a trial, and who chooses."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.driver.settings import needs_of
from pilotune.pipeline.driver.trial_fit import why_unfit
from pilotune.pipeline.studies.resolve import check_pools
from pilotune.pipeline.studyfile import load_study_file
from pilotune.providers.blocks.resources import accelerators, pool_uses, usable_pools
from pilotune.providers.site import PoolSpec, load_site

STUDY = """
name: s
objective: sphere
direction: minimize
space:
  x: {float: [0, 1]}
  layers: {int: [1, 6]}
  where: {choice: [cpu, gpu]}
  deep: {choice: [1, 2], when: {where: gpu}}
budget: {trials: 3}
"""
SITE = """
scheduler: local
pools:
  cpu: {workers_per_node: 2}
  gpu: {workers_per_node: 2, gpus_per_node: 4}
  gpu-old: {gpus_per_node: 1, blocks: {init: 0, max: 0}}
"""


def load(tmp_path: Path, *overrides: str):
    path = tmp_path / "s.yaml"
    path.write_text(STUDY)
    return load_study_file(path, overrides)


@pytest.fixture
def site(tmp_path: Path):
    path = tmp_path / "lab.yaml"
    path.write_text(SITE)
    return load_site(str(path))


def params(**values: object) -> dict[str, object]:
    return {"x": 0.5, "layers": 1, "where": "cpu", **values}


@pytest.mark.parametrize(
    ("written", "few", "many", "named"),
    [
        ("gpu", ("gpu",), ("gpu",), {"gpu"}),
        ("[cpu, gpu]", ("cpu", "gpu"), ("cpu", "gpu"), {"cpu", "gpu"}),
        ("gpu-old", ("gpu-old",), ("gpu-old",), {"gpu-old"}),
        ("gpu if layers > 3 else cpu", ("cpu",), ("gpu",), {"cpu", "gpu"}),
        ("'gpu-old' if layers > 3 else [cpu, gpu]", ("cpu", "gpu"), ("gpu-old",), {"cpu", "gpu", "gpu-old"}),
        ("where", ("cpu",), ("cpu",), {"cpu", "gpu"}),
    ],
)
def test_a_rule_gives_the_pools_of_each_trial(tmp_path, written, few, many, named):
    rule = load(tmp_path, f'trial.pools="{written}"' if "[" not in written[:1] else f"trial.pools={written}").pools
    assert (rule.of(params(layers=1)), rule.of(params(layers=6))) == (few, many)
    assert set(rule.named) == named
    assert pickle.loads(pickle.dumps(rule)).of(params(layers=6)) == many


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("3", "must be a pool's name, a list of names, or an expression, but is 3"),
        ("[]", "must be a pool's name, a list of names, or an expression, but is []"),
        ('"gpu if layers > 3"', "is not an expression"),
        ('"layers * 2"', "which is no name and no list of names"),
        ('"gpu if deep > 1 else cpu"', "needs 'deep', which is inactive where"),
        ('"open(gpu)"', "may not call 'open'"),
        ('"a.gpu if layers > 1 else cpu"', "may not hold 'a.gpu'; only"),
        ('"a.gpu if layers > 1 else cpu"', "give a pool's name (in quotes if it has a dash or a dot)"),
        ('"gpu-old if layers > 1 else cpu"', "gpu and old are no parameters (put a pool's name with a dash in quotes)"),
        ('"gpu if layerz > 1 else cpu"', "layerz is no parameter (put"),
        ("\"gpu if layers > 'a' else cpu\"", "cannot be evaluated: `>` compares a number with text where layers is 1"),
        ('"gpu if 1e300 ** layers > 1 else cpu"', "cannot be evaluated: a number in it is too large where layers is 2"),
        ('"layers if layers > 3 else cpu"', "'layers' is a parameter here: if a pool is meant, put its name in quotes"),
    ],
)
def test_a_rule_that_gives_no_pools_is_refused_with_its_line(tmp_path, written, said):
    with pytest.raises(UserError, match=r"trial\.pools") as caught:
        load(tmp_path, f"trial.pools={written}")
    assert said in str(caught.value)


def test_a_study_uses_the_pools_that_its_rule_names_those_with_gpus_too(tmp_path, site):
    plain = needs_of(load(tmp_path))
    assert [pool.name for pool in usable_pools(site, plain)] == ["cpu"]
    both = needs_of(load(tmp_path, "trial.pools=[cpu, gpu]"))
    assert [pool.name for pool in usable_pools(site, both)] == ["cpu", "gpu"]
    only = {use.pool.name: use.why_not for use in pool_uses(site, needs_of(load(tmp_path, "trial.pools=gpu")))}
    assert (only["gpu"], only["cpu"]) == ("", "trial.pools does not name it")


def test_a_trial_that_asks_for_no_gpu_has_its_workers_share_where_its_rule_names_a_pool_with_gpus(tmp_path):
    needs = needs_of(load(tmp_path, "trial.pools=[cpu, gpu]"))
    assert accelerators(PoolSpec("gpu", gpus_per_node=4, workers_per_node=2), needs) == ["0,1", "2,3"]
    assert accelerators(PoolSpec("gpu", gpus_per_node=1, workers_per_node=2), needs) == ["0", "0"]
    assert accelerators(PoolSpec("cpu", workers_per_node=2), needs) == []
    assert accelerators(PoolSpec("gpu", gpus_per_node=4, workers_per_node=2), needs_of(load(tmp_path))) == []


def test_a_pool_that_the_site_lacks_or_that_is_off_is_refused(tmp_path, site):
    for name, said in (("gqu", "has no pool 'gqu'; did you mean 'gpu'?"), ("gpu-old", "pool gpu-old is off")):
        with pytest.raises(UserError) as caught:
            usable_pools(site, needs_of(load(tmp_path, f"trial.pools={name}")))
        assert caught.value.key == "trial.pools"
        assert said in str(caught.value)


@pytest.mark.parametrize("written", ["cpu if layes == 3 else gpu", "cpu if foo else gpu", "cpu and gqu"])
def test_a_name_that_is_neither_a_parameter_nor_a_pool_is_refused(tmp_path, site, written):
    with pytest.raises(
        UserError, match=r"which is neither a parameter nor a pool of site lab; (did you mean|known are)"
    ):
        check_pools(load(tmp_path, f'trial.pools="{written}"'), site)


def test_a_parameter_that_is_named_like_a_pool_may_not_stand_where_a_pool_could_be_meant(tmp_path, site):
    text = STUDY.replace("  where:", "  gpu: {choice: [cpu, gpu-old]}\n  where:")
    path = tmp_path / "s.yaml"
    for written in ("gpu if layers > 3 else cpu", "[cpu, gpu]", "gpu", "cpu if layers > 3 else [gpu]"):
        path.write_text(text + f'trial: {{pools: "{written}"}}\n')
        with pytest.raises(UserError) as caught:
            check_pools(load_study_file(path), site)
        assert (caught.value.file, caught.value.line, caught.value.key) == (path, 12, "trial.pools")
        assert "'gpu' is a parameter and a pool of site lab; put the pool's name in quotes" in str(caught.value)
    for written in ("'gpu' if layers > 3 else cpu", "cpu if gpu == 'cpu' else 'gpu'"):
        path.write_text(text + f'trial: {{pools: "{written}"}}\n')
        check_pools(load_study_file(path), site)
    path.write_text(text + "trial: {pools: [cpu, gpu]}\n")
    check_pools(load_study_file(path), site)


def test_a_trial_whose_only_pool_cannot_run_it_fails_with_the_reason(tmp_path, site):
    file = load(tmp_path, "trial.pools=\"'gpu-old' if layers > 3 else cpu\"")
    assert why_unfit(file, site, params(layers=1)) == ""
    assert why_unfit(file, site, params(layers=6)).startswith("trial.")


def test_the_policy_is_learned_unless_the_file_says_otherwise(tmp_path):
    assert load(tmp_path).policy == "learned"
    assert load(tmp_path, "placement=null").policy == "learned"
    assert load(tmp_path, "placement=fifo").policy == "fifo"
    assert "policy: shadho" in load(tmp_path, "placement.policy=shadho").resolved()
    with pytest.raises(UserError, match="must be learned, fifo or shadho"):
        load(tmp_path, "placement.policy=best")
