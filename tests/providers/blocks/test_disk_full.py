"""While files in the run directory cannot be written, no block is submitted, and running blocks continue."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotune.errors import SiteError
from pilotune.pipeline.driver.run import LogFile, logging_to
from pilotune.providers.blocks.job_log import JobLog, read_job_log
from pilotune.providers.blocks.pool_blocks import DISK_PATIENCE, DISK_RETRY
from tests.providers.blocks.test_monitor import Lab
from tests.support.small_disks import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_no_block_is_submitted_without_a_record_and_running_blocks_continue(disk: Path) -> None:
    lab = Lab(disk)
    lab.connect("0", tasks=2)
    filler = fill(disk)
    (disk / "jobs.jsonl").write_bytes((disk / "jobs.jsonl").read_bytes()[:0])
    fill(disk)
    for _ in range(20):
        lab.turn(seconds=DISK_RETRY)
    assert lab.scheduler.submitted == ["j0"]
    assert lab.living == ["0"]
    assert lab.blocks.failure == ""
    assert "No space left on device; no block is submitted without a record of it" in lab.blocks.note
    assert lab.blocks.note.startswith("next block at ")
    filler.unlink()
    lab.turn(seconds=DISK_RETRY)
    assert lab.scheduler.submitted == ["j0", "j1", "j2"]
    assert lab.blocks.note == ""


def test_a_pool_without_a_block_gives_up_after_two_minutes(disk: Path) -> None:
    fill(disk)
    for number in range(100):
        if not _takes(disk / f"x{number}"):
            break
    lab = Lab(disk / ".")
    began = lab.now
    while not lab.blocks.failure:
        assert lab.now - began <= DISK_PATIENCE + DISK_RETRY
        lab.turn(seconds=DISK_RETRY)
    assert lab.now - began >= DISK_PATIENCE
    assert lab.blocks.failure.endswith("no block is submitted without a record of it")
    assert lab.scheduler.submitted == []


def _takes(path: Path) -> bool:
    try:
        path.write_bytes(b"x" * 4096)
    except OSError:
        return False
    return True


def test_a_script_that_cannot_be_written_is_waited_for_in_the_same_way(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.connect("0", tasks=2)
    submit = lab.scheduler.submit

    def refuse(*arguments: object) -> str:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    lab.scheduler.submit = refuse
    lab.turn()
    assert "the block's script cannot be written: your disk quota on " in lab.blocks.note
    lab.scheduler.submit = submit
    lab.turn()
    assert len(lab.scheduler.submitted) == 3


def test_a_missing_program_is_no_problem_of_disk_space(tmp_path: Path) -> None:
    lab = Lab(tmp_path, init=0)

    def missing(*arguments: object) -> str:
        raise SiteError("sbatch is not on PATH")

    lab.scheduler.submit = missing
    with pytest.raises(SiteError, match="sbatch is not on PATH"):
        lab.turn()


def test_a_line_that_was_cut_off_does_not_take_the_next_with_it(tmp_path: Path) -> None:
    job_log = JobLog(tmp_path / "jobs.jsonl", "slurm", 60.0)
    job_log.submitting("lab-cpu-0", "cpu", "0")
    with (tmp_path / "jobs.jsonl").open("a") as file:
        file.write('{"event": "submitt')
    job_log.submitting("lab-cpu-1", "cpu", "1")
    assert [job.name for job in read_job_log(tmp_path / "jobs.jsonl")] == ["lab-cpu-0", "lab-cpu-1"]


def test_the_log_drops_lines_while_the_disk_is_full(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("pilotune.test")
    with logging_to(disk / "driver.log"):
        log.warning("first")
        filler = fill(disk)
        for number in range(200):
            log.warning("%s %s", number, "x" * 1000)
        filler.unlink()
        log.warning("last")
    text = (disk / "driver.log").read_text(errors="replace")
    assert "first" in text
    assert "last" in text
    with logging_to(disk / "gone" / "driver.log"):  # and one whose folder is deleted
        log.warning("into nothing")
        logging.getLogger("parsl").warning("into nothing")
    assert capsys.readouterr().err == ""


def test_a_log_can_be_closed_while_the_disk_is_full(disk: Path) -> None:
    handler = LogFile(disk / "driver.log")
    fill(disk)
    for _ in range(100):
        handler.handle(logging.makeLogRecord({"msg": "x" * 1000}))
    handler.close()
