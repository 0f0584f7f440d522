"""A campaign's blocks in a line of progress, and in the status of a study."""

from __future__ import annotations

import io
from dataclasses import asdict, replace

import pytest
from rich.console import Console

from pilotune.pipeline.campaign.events import BlockView
from pilotune.pipeline.cli.commands.status import campaign_details
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.studies.block_table import blocks_line, blocks_table
from pilotune.pipeline.studies.campaign_status import ObservedCampaign
from pilotune.pipeline.studies.progress import render_status, status_line
from pilotune.pipeline.studies.resolve import StudyLocation

NOW = 10_000.0
STATUS = Status(study="digits", campaign="c", state="running", started=NOW - 60, updated=NOW, workers=8)

RUNNING = BlockView("knl", "0", "4711", "running", "", 4, ends=NOW + 4320, since=NOW - 600)
LATER = replace(RUNNING, block="1", job="4712", ends=NOW + 9000)
QUEUED = BlockView("knl", "2", "4713", "queued", "(Priority)", since=NOW - 30)
STARTING = replace(QUEUED, block="3", job="4714", state="starting", reason="", since=NOW - 4)
ENDED = BlockView("knl", "4", "4710", "ended", "walltime", ends=NOW - 5, since=NOW - 5)
LOCAL = BlockView("local", "0", "99", "running", "", 2, since=NOW - 5)


def status(*blocks: BlockView) -> Status:
    return Status.from_json(replace(STATUS, blocks=[asdict(block) for block in blocks]).to_json())


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([], ""),
        ([LOCAL], ""),
        ([ENDED], ""),
        ([RUNNING], "1 running (ends in 1h 12m)"),
        ([LATER, RUNNING, QUEUED, ENDED], "2 running (the first ends in 1h 12m), 1 queued (Priority)"),
        ([QUEUED, replace(QUEUED, reason="Resources"), STARTING], "1 starting, 2 queued (Priority, Resources)"),
        ([replace(QUEUED, reason="")], "1 queued"),
        ([replace(QUEUED, reason="no ncpus (R: 2 A: 0)")], "1 queued (no ncpus (R: 2 A: 0))"),
    ],
)
def test_blocks_are_summed_up_in_a_line(blocks: list[BlockView], text: str) -> None:
    assert blocks_line(status(*blocks)) == text


def test_the_blocks_of_a_campaign_that_has_ended_are_not_shown() -> None:
    assert blocks_line(replace(status(RUNNING, QUEUED), state="ended")) == ""


def test_progress_has_the_line_on_a_terminal_and_elsewhere() -> None:
    shown = status(RUNNING, QUEUED)
    assert "; blocks 1 running (ends in 1h 12m), 1 queued (Priority)" in status_line(shown)
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(render_status(shown))
    assert "\nblocks 1 running (ends in 1h 12m), 1 queued (Priority)" in console.file.getvalue()
    assert "blocks" not in status_line(status(LOCAL))


def test_the_table_has_a_row_for_each_block() -> None:
    rows = [text.split() for text in blocks_table(status(RUNNING, QUEUED, ENDED)).splitlines()]
    assert rows[0][:3] == ["block", "job", "state"]
    assert rows[1:] == [
        ["knl", "0", "4711", "running", "10m", "00s", "4", "1h", "12m"],
        ["knl", "2", "4713", "queued", "30s", "0", "-", "Priority"],
        ["knl", "4", "4710", "ended", "5.0s", "0", "-", "walltime"],
    ]


def test_the_status_of_a_study_shows_its_blocks_and_what_it_waits_for(tmp_path) -> None:
    found = StudyLocation(name="digits", storage="sqlite:///x.db", study_file=None, runs=tmp_path, site="theta")
    shown = replace(status(RUNNING, QUEUED), waiting="2 blocks are queued")
    text = campaign_details(found, ObservedCampaign(shown, tmp_path, alive=True))
    for words in ("blocks    1 running (ends in 1h 12m)", "waiting   2 blocks are queued", "knl 2  4713"):
        assert words in text
    dead = campaign_details(found, ObservedCampaign(shown, tmp_path, alive=False))
    assert "4713" not in dead, "the blocks of a dead driver are not known"
    assert "queued" not in dead
