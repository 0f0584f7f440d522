"""The real campaign under simulation: each seed has its own faults, and no seed loses a result."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.sizes import at_size
from tests.system.simulation import Case, check, prepare, replay_command, template
from tests.system.simulation.__main__ import memory
from tests.system.simulation.run import DRAWS

pytestmark = pytest.mark.slow

SEEDS, BLOCK_SEEDS, HOUR_SEEDS = at_size(200, 10_000), at_size(20, 2_000), at_size(10, 1_000)
END_SEEDS = at_size(10, 300)
CHUNK = at_size(10, 100)


def check_chunk(seeds: range, option: str, template_path: Path, folder: Path) -> tuple[list[str], Counter[str]]:
    """The failures of some seeds, and how often each thing happened in them."""
    prepare()
    wrong, saw = [], Counter[str]()
    for seed in seeds:
        try:
            saw += check(DRAWS[option](seed), template_path, folder).saw
        except Exception as error:
            wrong.append(f"{replay_command(seed, option)}: {type(error).__name__}: {error}")
    return wrong, saw


def check_all(seeds: int, option: str, folder: Path, processes: Pool) -> Counter[str]:
    """How often each thing happened in all seeds, none of which failed."""
    path = template(folder)
    chunks = [(range(first, min(first + CHUNK, seeds)), option, path, folder) for first in range(0, seeds, CHUNK)]
    found = processes.starmap(check_chunk, chunks, chunksize=1)
    wrong = [sentence for sentences, _ in found for sentence in sentences]
    assert not wrong, "\n".join(wrong)
    return sum((saw for _, saw in found), Counter())


@pytest.fixture(scope="module")
def processes() -> Iterator[Pool]:
    """Two processes that check seeds: what a campaign needs is imported once in each, for all tests."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        yield pool


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(dir=memory(), prefix="simulation-") as name:
        yield Path(name)


def test_no_seed_loses_or_doubles_a_result(folder: Path, processes: Pool) -> None:
    saw = check_all(SEEDS, "", folder, processes)
    assert saw["code 0"] > SEEDS / 2
    expected: dict[str, str | tuple[str, ...]] = {
        "killed": "killed ",
        "killed inside a transaction": "killed after a statement",
        "killed before its commit": "killed before commit",
        "killed after its commit": ("killed after commit", "killed after the commit"),
        "killed between two actions": "killed after Submit",
        "stopped": "stopped",
        "lost its lease": "lease lost",
        "was refused beside a living one": "not started: CampaignRunning",
        "database failed": "database failed ",
        "lost the answer to a commit": "database failed after COMMIT",
        "clock set": "clock set",
        "rubbish on disk": "rubbish on disk",
        "took trials over": "trials taken over",
        "found outcomes": "outcomes found on disk",
        "took callbacks over": "callbacks taken over",
        "refused trials beyond the budget": "trials refused beyond the budget",
        "overtaken by others": "trials overtaken",
        "told to end": "told to end: ",
        "put aside trials that did not yield": "trials put aside",
        "promoted trials": "trials promoted",
        "repeated trials": "repetitions",
        "tried a repetition again": "repetitions tried again",
        "gave up trials that had lost the race": "races lost",
        "told paused trials that they would not go on": "trials paused for ever",
        "carried reports that no driver had heard": "reports carried",
        "read report logs": "report logs read by drivers",
        "packed attempts of different sizes": "attempts packed",
        "let later attempts overtake": "attempts overtaken",
        "reserved a node": "attempts that had a node reserved",
        "shared a GPU": "GPUs shared",
        "refused trials that fit nowhere": "trials that fit nowhere",
        "placed attempts on several pools": "attempts in pool p1",
        "kept trials to some pools": "attempts that some pools may run",
        "gave up a pool": "pools vanished",
        "kept artifacts": "artifacts kept",
        "deleted artifacts": "artifacts deleted",
    }
    for what, prefix in expected.items():
        came = sum(count for name, count in saw.items() if name.startswith(prefix))
        assert came >= at_size(1, 3), f"{what} hardly came about: the draw has changed"


def test_blocks_come_and_go_and_every_trial_goes_on_from_its_checkpoint(folder: Path, processes: Pool) -> None:
    saw = check_all(BLOCK_SEEDS, "--blocks", folder, processes)
    assert saw["code 0"] > BLOCK_SEEDS / 2
    kinds = (
        "attempts yielded",
        "attempts declined",
        "walltime",
        "preempted",
        "cancelled",
        "suspended",
        "trials promoted",
    )
    pools = ("ticks with work for a later pool first",)
    for what in (*kinds, *pools, "trials paused for ever", "blocks of shape 0", "blocks of shape 1"):
        assert saw[what] >= at_size(3, 10), f"{what} hardly came about: the draw has changed"


def test_the_last_trials_leave_large_blocks_and_none_is_lost_or_asked_twice(folder: Path, processes: Pool) -> None:
    saw = check_all(END_SEEDS, "--ends", folder, processes)
    for what in ("trials asked to leave their block", "blocks left by the last trials"):
        assert saw[what] >= at_size(2, 30), f"{what} hardly came about: the draw has changed"


def test_no_driver_uses_more_node_hours_than_the_budget_has(folder: Path, processes: Pool) -> None:
    saw = check_all(HOUR_SEEDS, "--hours", folder, processes)
    for what in ("more than half of the node-hours were used", "trials taken over"):
        assert saw[what] >= at_size(1, 30), f"{what} hardly came about: the draw has changed"


def test_a_seed_replays_to_the_last_bit(folder: Path) -> None:
    """Also in a process with another order of sets of names."""
    path, seeds = template(folder), (17, 42)
    digests = [check(Case.of(seed), path, folder).digest for seed in seeds]
    assert digests == [check(Case.of(seed), path, folder).digest for seed in seeds]
    command = (
        "import sys, pathlib; from tests.system.simulation import Case, check, template; "
        "path = pathlib.Path(sys.argv[1]); path.mkdir(); made = template(path); "
        f"print(*(check(Case.of(seed), made, path).digest for seed in {seeds}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", command, str(folder / "again")], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split()[-2:] == digests
    assert check(Case.of(18), path, folder).digest not in digests
