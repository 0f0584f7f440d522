"""What a logger is: one run for each trial, written by records that come in any number of parts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from .records import TrialRecord
from .settings import Destination

CLASSES: Mapping[str, str] = {
    "tensorboard": "TensorBoardLogger",
    "mlflow": "MlflowLogger",
    "wandb": "WandbLogger",
}
"""Logger -> its class, in the module of this room named ``to_<logger>``."""


class Logger(Protocol):
    """A logger. Its methods may raise anything; the process that calls them turns it into a warning.

    A class takes its :class:`~.settings.Destination` and the study's name.
    """

    live: bool
    """Whether it takes the reports of running trials; one that does not gets all of them at the end."""

    def write(self, record: TrialRecord, run: str | None) -> str | None:
        """Write what is new of a trial.

        Args:
            record: The trial; its ``reports`` are those that are not written yet.
            run: What an earlier call, perhaps in another process, returned for this trial; None for the first.

        Returns:
            How to find the run of this trial again; None where its number is enough.
        """

    def close(self) -> None:
        """Write out what is left."""


def make_logger(destination: Destination, study: str) -> Logger:
    """The logger of a destination. Imports its package."""
    module = import_module(f"{__package__}.to_{destination.name}")
    made: Logger = getattr(module, CLASSES[destination.name])(destination, study)
    return made
