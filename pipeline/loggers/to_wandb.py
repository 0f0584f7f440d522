"""Writes trials to Weights & Biases: one run for each, in a group of the study's; offline unless asked otherwise."""

from __future__ import annotations

import os
import re

import wandb

from .records import TrialRecord
from .settings import Destination


class WandbLogger:
    """One run for each trial, written when it has ended: a run that is open is a process. See :class:`.base.Logger`."""

    live = False

    def __init__(self, destination: Destination, study: str):
        self._args, self._study = destination.args, study
        os.makedirs(self._args["dir"], mode=0o700, exist_ok=True)

    def write(self, record: TrialRecord, run: str | None) -> str | None:
        args = self._args
        opened = wandb.init(
            project=args["project"],
            entity=args.get("entity"),
            mode="online" if args["mode"] == "online" else "offline",
            dir=args["dir"],
            group=self._study,
            name=record.run,
            id=re.sub(r"[^A-Za-z0-9_-]", "-", f"{self._study}-{record.number}"),
            resume="allow",
            config=record.params,
            tags=[record.state],
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        for step, value, _ in sorted(record.reports):
            opened.log({record.report_key: value}, step=int(step))
        opened.summary.update({**record.values, "state": record.state, **record.tags})
        opened.finish(exit_code=int(record.state == "failed"))
        return None

    def close(self) -> None:
        pass
