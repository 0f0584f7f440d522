"""The batch script of every pool of every shipped site, as ``pilotune run --dry-run`` prints it in a fixed environment.

``python -m tests.providers.schedulers.golden`` writes them anew; look at the difference before it is committed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from pilotune.providers.blocks.batch_scripts import batch_scripts
from pilotune.providers.blocks.resources import TrialResources
from pilotune.providers.site import SHIPPED, load_site
from pilotune.yamlfile import read_yaml

FOLDER = Path(__file__).resolve().parent
PYTHON = "/shared/pilotune/bin/python"
BLOCKS = Path("/shared/runs/digits/20260102-030405-abcdef/blocks")
LABEL = "digits-abcdef"
ENVIRONMENT = {"PROJECT": "proj", "SCRATCH": "/scratch/me", "USER": "me"}


def render() -> Iterator[tuple[str, str]]:
    """File name and text of each script. Pools that are off by default are switched on."""
    with patch.dict(os.environ, ENVIRONMENT, clear=True), patch.object(sys, "executable", PYTHON):
        for path in sorted(SHIPPED.glob("*.yaml")):
            pools = list(read_yaml(path).data["pools"])
            for pool in pools:
                only = [f"pools.{each}.blocks.max={1 if each == pool else 0}" for each in pools]
                site = load_site(path, ["runs=/shared/runs", *only])
                needs = TrialResources(gpus=1 if site.pool(pool).gpus_per_node else 0)
                for _, text in batch_scripts(site, needs, BLOCKS, LABEL):
                    yield f"{path.stem}-{pool}.sh", text
