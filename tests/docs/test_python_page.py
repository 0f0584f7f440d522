"""The snippets of docs/python.md run, one after the other, in one script."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotune.pipeline.api.handles import Campaign, Study
from pilotune.pipeline.api.status import CampaignStatus

from ..support.local import PATIENCE, Here, kill_processes

PAGE = (Path(__file__).resolve().parents[2] / "docs/python.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    here = Here(tmp_path / "user")
    yield here
    kill_processes(here)


@pytest.mark.real
def test_the_snippets_run(here: Here) -> None:
    snippets = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    script = here.write("page.py", "\n".join(snippets))
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, cwd=here.folder, env=here.environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ended 8 the budget of 8 trials is used up"
    assert lines[-2].endswith(" True")
    assert lines[-1] == "10"


@pytest.mark.parametrize(("title", "kind"), [("The campaign", Campaign), ("The study", Study)])
def test_every_public_name_has_a_row(title: str, kind: type) -> None:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found
    names = {name for name in vars(kind) if not name.startswith("_")} - {"of_started", "printed"}
    first = "".join(row.split("|")[1] for row in found[1].splitlines() if row.startswith("| `"))
    assert names <= set(re.findall(r"`(\w+)", first))


def test_the_page_names_fields_that_a_status_has() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `status` |"))
    assert [
        name for name in re.findall(r"`(\w+)`", row) if name != "status" and not hasattr(CampaignStatus("x"), name)
    ] == []
