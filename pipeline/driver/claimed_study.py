"""Opens and claims the study of a campaign, and gives it its first points, what it learns from, and its sampler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import optuna

from ..attributes import SETUP
from ..fidelity import make_pruner
from ..record import (
    Lease,
    RecordStorage,
    RunDirectory,
    claim,
    earlier_studies,
    enqueue,
    in_its_space,
    keep_learned,
    learn_from,
    open_study,
    release,
)
from ..studyfile import StudyFile
from ..suggest import make_sampler
from .campaign_setup import campaign_setup
from .open_record import open_when_ready
from .settings import RunSettings


@contextlib.contextmanager
def claimed(
    settings: RunSettings,
    run: RunDirectory,
    campaign_id: str,
    notes: list[str] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[RecordStorage, optuna.Study, Lease]]:
    """Open the study and claim it for this campaign; release it at the end.

    Args:
        settings: What to run and where.
        run: The campaign's run directory.
        campaign_id: The campaign's id.
        notes: What the user should know of how the study was set up is added here, in sentences.
        tell: Called with a sentence for the user if the database's server is not ready yet.
        stop: Whether the user no longer wants to wait for it.

    Raises:
        UserError: Another study has this name, another driver works on it, or there is no such database.
        RecordAway: The database does not answer, or accepts no writes.
    """
    study_file = settings.study_file
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.closing(open_when_ready(settings.storage_url, study_file.name, tell, stop)) as storage:
        study = open_study(storage, study_file, sampler=None, pruner=make_pruner(study_file))
        lease = Lease.here(campaign_id, str(run.path))
        claim(storage, study, lease)
        try:
            storage.set_study_system_attr(study._study_id, SETUP + campaign_id, campaign_setup(settings))
            skipped = _set_up(study_file, storage, study, campaign_id)
            if notes is not None:
                notes += skipped
            yield storage, study, lease
        finally:
            release(storage, study, lease)


def _set_up(study_file: StudyFile, storage: RecordStorage, study: optuna.Study, campaign_id: str) -> list[str]:
    """Give the study the trials it learns from, its first points, and its sampler. Called once the study is claimed.

    Returns the first points that were skipped, in sentences.
    """
    skipped = enqueue(study, study_file.start_from.enqueue, study_file.space)
    storage.commit()
    if study_file.start_from.studies:
        if len(study_file.directions) > 1:
            learn_from(storage, study, study_file.start_from.studies, study_file.space)
        else:
            skipped += keep_learned(storage, study, study_file)
    searched = in_its_space(study_file, study)
    seed = _sampler_seed(study_file.seed, study, campaign_id)
    study.sampler = make_sampler(searched, seed=seed, earlier=earlier_studies(study))
    return skipped


def _sampler_seed(seed: int | None, study: optuna.Study, campaign_id: str) -> int | None:
    """The sampler's seed: the study file's for a new study; a resumed study must not draw the same numbers again."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != optuna.trial.TrialState.WAITING]
    if seed is None or not trials:
        return seed
    entropy = [seed, len(trials), *campaign_id.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
