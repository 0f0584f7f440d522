"""What ``pilotune check`` finds out before a run: what the run would refuse, and what may not be meant. Only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CampaignRunning, RecordAway, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..record.hours import Ledger
    from .resolve import PreparedRun


def check_start(prepared: PreparedRun) -> list[str]:
    """Raise UserError for what a run would refuse when it starts: its folder, its database, another study in that.

    Returns:
        Notes: what the study learns from earlier ones; that the database's server does not answer now.
    """
    from ..record import RunDirectory, new_campaign_id, sqlite_file

    RunDirectory(prepared.runs / prepared.study_file.name / new_campaign_id()).check()
    path = sqlite_file(prepared.storage)
    if path is not None:
        check_sqlite_file(path)
    if path is None or path.is_file():
        try:
            check_stored_study(prepared)
            return check_learned_studies(prepared)
        except RecordAway as error:
            return [str(error)]
    elif prepared.study_file.start_from.studies:
        name = prepared.study_file.start_from.studies[0]
        message = f"no study {name!r} in the database, which does not exist yet: {path}"
        raise prepared.study_file.error(message, "start_from.studies")
    return []


def refuse_second_driver(prepared: PreparedRun) -> None:
    """Raise CampaignRunning if a driver runs already on a study in SQLite, which allows one.

    The database refuses a second driver as well, but only after imports that take a second.
    """
    from ..studies.campaign_status import list_campaigns

    if not prepared.storage.startswith("sqlite"):
        return
    for campaign in list_campaigns(prepared.runs, prepared.study_file.name):
        if campaign.alive and campaign.status.storage == prepared.storage:
            name, status = campaign.status.study, campaign.status
            raise CampaignRunning(
                f"campaign {status.campaign} of {name!r} is running already (process {status.pid} on {status.host}); "
                f"follow it with pilotune watch {name}, end it with pilotune stop {name}"
            )


def check_stored_study(prepared: PreparedRun) -> None:
    """Raise StudyMismatch if the database has another study of this name."""
    from ..analysis import read_study, stored_study
    from ..record import check_definition

    name = prepared.study_file.name
    stored = stored_study(prepared.storage, name)
    if stored is not None:
        check_definition(
            prepared.study_file,
            *stored,
            lambda: {
                param: distribution
                for trial in read_study(prepared.storage, name).trials
                for param, distribution in trial.distributions.items()
            },
        )


def check_sqlite_file(path: Path) -> None:
    """Raise UserError if a file cannot be a study's database."""
    from ..record.rundir import why_untrusted_database

    try:
        problem = why_untrusted_database(path)
        if problem:
            raise UserError(problem, file=path)
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"the database cannot be read: {error.strerror}", file=path) from None
    if head and head != b"SQLite format 3\0":
        raise UserError("this file is no SQLite database; name another one", file=path)


def check_learned_studies(prepared: PreparedRun) -> list[str]:
    """What the study is to learn from earlier ones, in sentences.

    Raises UserError if the database does not have such a study, or it has other directions.
    """
    from ..analysis import nearest, study_names

    wanted = prepared.study_file.start_from.studies
    known = study_names(prepared.storage) if wanted else []
    for name in wanted:
        if name == prepared.study_file.name:
            raise prepared.study_file.error(f"the study {name!r} cannot learn from itself", "start_from.studies")
        if name not in known:
            raise prepared.study_file.error(
                f"no study {name!r} in the database{nearest(name, known)}", "start_from.studies"
            )
    return _learned_notes(prepared) if wanted else []


def _learned_notes(prepared: PreparedRun) -> list[str]:
    from ..analysis import read_study, stored_study
    from ..record import learned, narrowed_in_words

    study_file = prepared.study_file
    studies = {name: read_study(prepared.storage, name) for name in study_file.start_from.studies}
    for name, data in studies.items():
        if data.directions != study_file.directions:
            message = f"{name!r} has other directions than this study, so nothing can be learned from it"
            raise study_file.error(message, "start_from.studies")
    if len(study_file.directions) > 1:
        return []
    if stored_study(prepared.storage, study_file.name) is not None:
        return ["start_from.studies counts when a study is created; this one goes on with what it learned then"]
    found = learned(study_file, lambda name: studies[name].trials)
    return [*found.said, *found.misfits, *narrowed_in_words(found.narrowed)]


def import_notes(prepared: PreparedRun) -> list[str]:
    """Notes on packages that the objective imports and that are missing here, but may be there on the site's nodes.

    Raises UserError for imports that fail everywhere, and where the site says nothing of another environment.
    """
    from ...fields import all_errors
    from ..studyfile.imports import import_problems

    problems = import_problems(prepared.study_file.objective)
    elsewhere = all(site.modules or site.setup for site in prepared.site.each)
    certain = [problem.error for problem in problems if not (problem.installed and elsewhere)]
    if certain:
        raise all_errors(certain)
    return [f"{problem.error}; the site's modules and setup must provide it" for problem in problems]


def earlier_ledgers(prepared: PreparedRun) -> dict[str, Ledger]:
    """What the study's campaigns have used and reserved, by their ids; empty where it has no budget in hours."""
    from ..driver.hours import stored_ledgers

    return stored_ledgers(prepared.study_file, prepared.storage) if prepared.study_file.budget.accounts else {}


def advice(prepared: PreparedRun, ledgers: Mapping[str, Ledger]) -> list[str]:
    """Notes on the site, on what the study makes of it and pays there, and on a new database beside an old one.

    ``ledgers``: of the study's campaigns, see :func:`earlier_ledgers`.
    """
    from ...providers.blocks.advice import shared_notes, site_notes, study_notes
    from ..driver.budget_check import budget_notes
    from ..driver.settings import needs_of
    from ..driver.trial_fit import shape_notes, unfit_notes
    from ..record import known_studies, sqlite_file

    notes = [note for site in prepared.site.each for note in site_notes(site)]
    notes += [*shared_notes(prepared.site), *study_notes(prepared.site, needs_of(prepared.study_file))]
    notes += unfit_notes(prepared.study_file, prepared.site)
    notes += shape_notes(prepared.study_file, prepared.site)
    notes += budget_notes(prepared.study_file, prepared.site, ledgers)
    path = sqlite_file(prepared.storage)
    if path is not None and not path.exists():
        elsewhere = known_studies.found_elsewhere(prepared.study_file.name, prepared.storage)
        if elsewhere:
            notes.append(f"the database {path} does not exist yet{elsewhere}")
    return notes
