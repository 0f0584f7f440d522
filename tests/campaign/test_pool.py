"""The example in the documentation of the Pool protocol is a pool: a campaign runs on it to its end."""

from __future__ import annotations

import inspect
import os
import textwrap
import time
from pathlib import Path
from typing import Any

from pilotune.pipeline.campaign.events import Capacity, Ended, Submit
from pilotune.pipeline.campaign.pool import Pool
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.trial.protocol import Outcome, Started
from tests.support.campaign_bench import benches


def test_a_campaign_runs_on_the_pool_of_the_example(tmp_path: Path) -> None:
    documentation = inspect.getdoc(Pool) or ""
    code = textwrap.dedent(documentation.partition("::\n")[2])
    names: dict[str, Any] = {
        "Capacity": Capacity, "Ended": Ended, "Outcome": Outcome, "Started": Started, "Submit": Submit,
        "os": os, "time": time,
    }  # fmt: skip
    exec(code, names)
    pool = names["InlinePool"](lambda params: params["x"] ** 2)
    bench = benches(tmp_path)(trials=5)
    finish = CampaignLoop(bench.campaign, pool, bench.storage, bench, limit=5).run()
    assert finish.code == 0
    assert [trial.value for trial in bench.trials()] == [trial.params["x"] ** 2 for trial in bench.trials()]
    assert len(bench.trials()) == 5
