"""No garbage is looked for while the trials of a study are read."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pilotune.pipeline.analysis import read_study
from pilotune.pipeline.analysis.collector import no_collection

from ..support.cli import random_study


@pytest.mark.parametrize("before", [True, False])
def test_afterwards_it_is_as_it_was(before: bool) -> None:
    was = gc.isenabled()
    try:
        set_to = gc.enable if before else gc.disable
        set_to()
        with no_collection():
            assert not gc.isenabled()
        assert gc.isenabled() is before
    finally:
        set_back = gc.enable if was else gc.disable
        set_back()


def test_reading_a_study_does_not_collect(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    random_study(url, 300)
    read_study(url, "digits")  # what is imported may collect
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collected.append(info["generation"])

    gc.callbacks.append(note)
    try:
        assert len(read_study(url, "digits").trials) == 300
    finally:
        gc.callbacks.remove(note)
    assert len(collected) <= 4, "with a collector that runs, hundreds of objects a trial cause many more"
