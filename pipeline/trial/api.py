"""The trial as an objective sees it: Pilotune's own methods, and those of ``optuna.Trial``."""

from __future__ import annotations

import datetime
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import distributions as forms
from .artifacts import ArtifactFolder, KeepsArtifacts
from .block_env import LAUNCHER, block_end
from .exceptions import TrialPruned, TrialYield
from .files import TrialFiles
from .gpus import gpu_ids
from .link import DriverConnection, Stopping
from .optuna_classes import json_of
from .optuna_side import OptunaSide
from .protocol import MESSAGE_LIMIT, AttemptSpec
from .values import as_float, as_name, as_step


@dataclass(frozen=True)
class Resources:
    """What one attempt may use, as the study file's ``trial:`` asked for it.

    Attributes:
        cores: CPU cores on each node. Libraries that use threads are told by ``OMP_NUM_THREADS`` and the like.
        gpus: GPUs on each node; a fraction below 1 is a share of one GPU.
        nodes: Nodes.
        gpu_ids: Names of this attempt's GPUs, as they stand in ``CUDA_VISIBLE_DEVICES`` (``ROCR_VISIBLE_DEVICES`` for
            AMD, ``ZE_AFFINITY_MASK`` for Intel); empty without GPUs. A framework that reads the variable numbers them
            from 0, so ``torch.device("cuda:0")`` is the first of them.
        launcher: What starts a command on all nodes of the trial, such as ``srun --nodes 2 --ntasks 8``. Empty for a
            trial on one node, unless the site sets ``PILOTUNE_LAUNCHER``.

    >>> Resources(cores=4, gpus=1, gpu_ids=("3",))
    Resources(cores=4, gpus=1, nodes=1, gpu_ids=('3',), launcher='')
    """

    cores: int = 1
    gpus: float = 0
    nodes: int = 1
    gpu_ids: tuple[str, ...] = ()
    launcher: str = ""


class Trial(KeepsArtifacts, OptunaSide):
    """One trial, as the objective sees it.

    Pilotune calls the objective with it in a process on a compute node. The parameters come with it; reports go to the
    driver, which answers whether the trial is to go on. Objects of this class are made by Pilotune only.

    An objective is written in one of two styles:

    * **Pilotune's.** The study file has a ``space:``, and the objective reads :attr:`params`. :meth:`report` raises
      :class:`TrialPruned` or :class:`TrialYield` when the trial is to end, so that no ``if`` is needed::

        import pilotune

        def train(trial: pilotune.Trial) -> float:
            model = Net(units=trial.params["units"])
            for epoch in range(1, 28):
                accuracy = train_epoch(model, lr=trial.params["lr"])
                trial.report(accuracy, step=epoch)
            return accuracy

    * **Optuna's.** An objective that was written for Optuna runs unchanged; :attr:`study`, :attr:`storage` and the
      other things that it may use are in :class:`.optuna_side.OptunaSide`. As soon as it has called a ``suggest_*``
      method, :meth:`report` does not raise, and :meth:`should_prune` gives the verdict::

        def objective(trial):
            lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
            for epoch in range(1, 28):
                trial.report(train_epoch(lr), epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned()
            return validate()

    Attributes:
        params: The configuration: values of parameters and constants by name. A conditional parameter whose condition
            does not hold is left out. In Optuna's style it grows with each ``suggest_*``.
        number: The trial's number in the study, from 0; never changes.
        attempt: Which execution of the trial this is, from 1. There are several when a block died or ended under it,
            or when the trial is repeated.
        checkpoint_dir: A folder that is kept across attempts: what one attempt saves here, the next one finds. Each
            repetition begins with an empty one.
        parent_checkpoint_dir: Where the sampler has ``inherit: true``, a folder with the checkpoint of the trial that
            this one is a child of, to read from; None where there is no parent, or it saved nothing.
        repeat: Which repetition of the trial this is, from 0; always 0 unless the study file has ``trial: repeats``.
        rng_seed: A seed from 0 to 2**32 - 1, the same for all attempts of a repetition, and another one in each
            repetition. Before the objective is called, ``random`` is seeded with it, and NumPy and PyTorch where the
            objective has imported them.
        resources: The :class:`Resources` that the attempt may use.
        rank: Which of the processes that call the objective this is, from 0. Always 0 without ``trial: ranks``.
        world_size: How many processes call the objective.
        datetime_start: When the attempt began, local time.

    >>> from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
    >>> trial = offline_trial({"lr": 0.01}, connection=OfflineConnection(prune_at=2))
    >>> trial.params["lr"]
    0.01
    >>> trial.report(0.5, step=1)
    >>> trial.report(0.4, step=2)
    Traceback (most recent call last):
        ...
    pilotune.pipeline.trial.exceptions.TrialPruned: pruned at step 2
    """

    def __init__(
        self,
        spec: AttemptSpec,
        checkpoint_dir: Path,
        connection: DriverConnection,
        artifact_dir: Path | None = None,
    ) -> None:
        self.params: dict[str, Any] = dict(spec.params)
        self.number = spec.number
        self.attempt = spec.attempt
        self.checkpoint_dir = checkpoint_dir
        self.parent_checkpoint_dir = Path(spec.parent_checkpoint) if spec.parent_checkpoint else None
        self.repeat, self.rng_seed = spec.repeat, spec.seed
        self.rank, self.world_size = spec.rank, spec.world_size
        folder = artifact_dir or TrialFiles(Path(spec.directory)).artifacts(spec.attempt)
        self._artifacts = ArtifactFolder(folder, writes=spec.rank == 0)
        self.resources = Resources(
            spec.cores, spec.gpus, spec.nodes, gpu_ids(spec.gpus, os.environ), os.environ.get(LAUNCHER, "")
        )
        self.datetime_start = datetime.datetime.now()
        self._study_name = spec.study
        self._defines_space = spec.defines_space
        self._space_names = tuple(spec.space_names)
        self._connection = connection
        self._optuna_style = False  # since the first suggest_*
        self._stop: Stopping = ""  # the verdict on the last report
        self._steps: set[int] = set()  # that were reported
        self._forms: dict[str, str] = {}  # distributions of what was suggested, as Optuna's JSON
        self._begin(spec)

    def __repr__(self) -> str:
        return f"<pilotune.Trial {self.number} of {self._study_name}, attempt {self.attempt}, params={self.params}>"

    # -- both styles ------------------------------------------------------------------------------------------------

    def report(self, value: float, step: int) -> None:
        """Report the objective's value at a step, and end here if the driver says so.

        Waits up to one second for the driver's verdict. A driver that is slower does not hold up the trial: it goes
        on, and the next call brings the verdict. Each report is kept even if it never reaches the driver. A step that
        was reported before is ignored with a warning.

        In a trial of several ranks, every rank calls it with the same steps, or rank 0 alone does. The value of rank 0
        counts, and all ranks hear the same verdict at the same step.

        Args:
            value: The intermediate value, in the units of the study's direction: a number, or anything that ``float``
                takes, such as a NumPy or PyTorch scalar. NaN is allowed, and makes pruners prune.
            step: How far the trial is: epochs, rounds, samples. A whole number from 0 to 2**31 - 1. Pruners compare
                trials at equal steps.

        Raises:
            TrialPruned: The trial is worse than others at this step, and ends. Not in Optuna's style.
            TrialYield: The attempt must end; the trial goes on later from its checkpoint. Not in Optuna's style.
            TypeError: ``value`` or ``step`` is not a number.
            ValueError: ``step`` is negative, not whole or too large.

        >>> from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
        >>> connection = OfflineConnection()
        >>> trial = offline_trial({"lr": 0.1}, connection=connection)
        >>> for epoch in (1, 2):
        ...     trial.report(epoch / 10, step=epoch)
        >>> connection.reports
        [(1, 0.1), (2, 0.2)]
        """
        number, position = as_float(value), as_step(step)
        if position in self._steps:
            warnings.warn(f"step {position} was reported before; this report is ignored", stacklevel=2)
        else:
            self._stop = self._connection.report(position, number)
            self._steps.add(position)
        if self._optuna_style:
            return
        if self._stop == "prune":
            raise TrialPruned(f"pruned at step {position}")
        if self._stop or self._connection.yield_asked():
            raise TrialYield(f"asked to yield at step {position}")

    def should_prune(self) -> bool:
        """Whether the trial is to end, by the verdict on its last report; for Optuna's style.

        In Optuna's style it is also true when the attempt is to yield, since such an objective knows no other way to
        end early; the trial is then not pruned but goes on later.

        >>> from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
        >>> trial = offline_trial(connection=OfflineConnection(prune_at=2))
        >>> lr = trial.suggest_float("lr", 0.01, 1.0)
        >>> for step in (1, 2):
        ...     trial.report(0.5, step)
        ...     print(trial.should_prune())
        False
        True
        """
        return bool(self._stop) or (self._optuna_style and self._connection.yield_asked())

    def should_yield(self) -> bool:
        """Whether this attempt is to end soon; then save a checkpoint and ``raise pilotune.TrialYield``.

        It does not wait, so it may be called often, for example between batches when there are minutes between
        reports. The request comes :attr:`time_left` early enough to save: a minute before the block's end by default
        (``trial: yield_before`` in the study file). In a trial of several ranks it changes only at a report, on all
        ranks at once, so that none leaves in the middle of a step.

        ::

            for batch in loader:
                train_step(model, batch)
                if trial.should_yield():
                    torch.save(model.state_dict(), trial.checkpoint_dir / "model.pt")
                    raise pilotune.TrialYield
        """
        return self._stop in ("yield", "kill") or self._connection.yield_asked()

    @property
    def time_left(self) -> float | None:
        """Seconds until the block ends (the batch job that this attempt runs in); None where it has no end."""
        end = block_end()
        return None if end is None else max(0.0, end - time.time())

    @property
    def pruned(self) -> bool:
        """Whether the verdict on the last report was to prune."""
        return self._stop == "prune"

    # -- Optuna's methods -------------------------------------------------------------------------------------------

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a value for a real parameter, as ``optuna.Trial.suggest_float``.

        Where the study file has a ``space:``, the value is that of its parameter ``name``, and the range given here is
        not used. Otherwise the objective defines the space as it runs, and the sampler draws the value in the driver;
        that takes one round trip, once for each parameter and trial.

        Args:
            name: The parameter's. The same name gives the same value throughout a trial.
            low: Lower end of the range, included; above 0 with ``log``.
            high: Upper end of the range, included. With ``step`` it is lowered to a whole number of steps from ``low``.
            step: Distance between the values that may be drawn; None: any value. Not with ``log``.
            log: Draw uniformly in the logarithm, for values whose order of magnitude matters, such as learning rates.

        Returns:
            The value.

        Raises:
            ValueError: The range is empty or does not fit ``log`` or ``step``; the study file's space has no parameter
                ``name``, or it is inactive in this trial; or ``name`` was suggested before as another kind.
            TrialYield: The attempt must end before the driver has answered.

        >>> from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
        >>> trial = offline_trial(connection=OfflineConnection(values={"lr": 0.003}))
        >>> trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        0.003
        >>> trial.params
        {'lr': 0.003}
        """
        return float(self._suggest(name, _form(name, forms.float_distribution, low, high, step, log)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Suggest a value for an integer parameter, as ``optuna.Trial.suggest_int``.

        Args:
            name: The parameter's.
            low: Lower end of the range, included; at least 1 with ``log``.
            high: Upper end of the range, included. It is lowered to a whole number of steps above ``low``.
            step: Distance between the values that may be drawn; must be 1 with ``log``.
            log: Draw uniformly in the logarithm.

        Returns:
            The value.

        Raises:
            ValueError, TrialYield: As :meth:`suggest_float`.

        >>> from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
        >>> offline_trial(connection=OfflineConnection(values={"units": 32})).suggest_int("units", 16, 256, step=16)
        32
        """
        return int(self._suggest(name, _form(name, forms.int_distribution, low, high, step, log)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of several choices, as ``optuna.Trial.suggest_categorical``.

        Args:
            name: The parameter's.
            choices: At least one; None, bool, int, float or str, or lists and dictionaries of these, which are kept in
                the database as their JSON text. For other objects, suggest a name and look the object up by it.

        Returns:
            The very object that was given as a choice.

        Raises:
            ValueError: There is no choice, or one that cannot be kept. Otherwise as :meth:`suggest_float`.
            TrialYield: As :meth:`suggest_float`.

        >>> from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
        >>> trial = offline_trial(connection=OfflineConnection(values={"optimizer": "adamw"}))
        >>> trial.suggest_categorical("optimizer", ["sgd", "adamw"])
        'adamw'
        """
        choices = tuple(choices)
        form = _form(name, forms.categorical_distribution, choices)
        stored = self._suggest(name, form)
        value = forms.choice_for(stored, choices)
        self.params[as_name(name)] = value
        if any(isinstance(choice, list | tuple | dict) for choice in choices):
            self._choices[as_name(name)] = dict(zip(json.loads(form)["attributes"]["choices"], choices, strict=True))
        return value

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Optuna's old name of ``suggest_float(name, low, high)``."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Optuna's old name of ``suggest_float(name, low, high, log=True)``."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Optuna's old name of ``suggest_float(name, low, high, step=q)``."""
        return self.suggest_float(name, low, high, step=q)

    @property
    def relative_params(self) -> dict[str, Any]:
        """A copy of :attr:`params`; Optuna's means those that the sampler drew together."""
        return dict(self.params)

    @property
    def distributions(self) -> dict[str, Any]:
        """Optuna's distribution objects of what was suggested, by name. Reading this imports Optuna."""
        from importlib import import_module

        decode = import_module("optuna.distributions").json_to_distribution
        return {name: decode(form) for name, form in self._forms.items()}

    def _suggest(self, name: str, distribution: Any) -> Any:
        """The value of a parameter; ``distribution`` is Optuna's JSON, or the object that some libraries give."""
        form = distribution if isinstance(distribution, str) else json_of(distribution)
        self._optuna_style = True
        name = as_name(name)
        before = self._forms.get(name)
        if before is not None and not _compatible(before, form):
            raise ValueError(f"parameter {name!r} was suggested before with another kind or other choices: {before}")
        if name not in self.params:
            if not self._defines_space:
                raise ValueError(self._unknown(name))
            if len(json.dumps([name, form])) > MESSAGE_LIMIT // 2:
                hint = "give its choices short names, and look them up"
                raise ValueError(f"parameter {name[:80]!r} is too long to be suggested; {hint}")
            self.params[name] = self._connection.suggest(name, form)
        self._forms.setdefault(name, form)
        return self.params[name]

    def _unknown(self, name: str) -> str:
        if name in self._space_names:
            return f"parameter {name!r} is inactive in this trial (its `when` does not hold), so it has no value"
        known = ", ".join(self._space_names) or "nothing"
        return f"parameter {name!r} is not in the study file's space ({known}); add it there, or leave `space:` out"


def _form(name: Any, form: Callable[..., str], *arguments: Any) -> str:
    """A distribution in Optuna's JSON. Raises ValueError with the parameter's name where it is refused."""
    try:
        return form(*arguments)
    except ValueError as error:
        raise ValueError(f"parameter {as_name(name)[:80]!r}: {error}") from None


def _compatible(one: str, other: str) -> bool:
    first, second = json.loads(one), json.loads(other)
    same_choices = first["attributes"].get("choices") == second["attributes"].get("choices")
    return bool(first["name"] == second["name"] and same_choices)
