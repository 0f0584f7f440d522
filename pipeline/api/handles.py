"""The two objects that Python works with: a campaign in the background, and a study in its database."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import PilotuneError, UserError
from ...grammar import a
from .notebook import import_optuna, progress_display
from .status import CampaignStatus, public_status

if TYPE_CHECKING:
    import subprocess

    import pandas as pd
    from optuna import Study as OptunaStudy

    from ..analysis import Row, Stage, StudyCost, StudyData, Summary
    from ..analysis.audit import Audit
    from ..noise.bounds import CautiousBest
    from ..studies.background import Started
    from ..studies.campaign_status import ObservedCampaign
    from ..studies.resolve import StudyLocation
    from .plots import Plots

SEVERAL = "see best_trials"
"""What to do where a study has several best trials, for errors."""

STARTED: list[subprocess.Popen[bytes]] = []
"""The drivers that this process has started. A process that has ended is a zombie until its parent asks for it."""


def open(name: str | os.PathLike[str] | None = None, *, storage: str | None = None) -> Study:
    """Open a study that has run, from any folder; also while campaigns work on it.

    Args:
        name: The study's name, or its study file; None for the only study.
        storage: URL of the database to look in, instead of where the study ran last.

    Raises:
        UserError: There is no such study; the message gives the nearest names.

    Example::

        study = pilotune.open("digits")
        study.best.params
        study.trials().sort_values("value")
    """
    from ..studies.resolve import resolve_study

    if name is not None and not isinstance(name, str | os.PathLike):
        raise UserError(f"must be a study's name or its study file, but is {a(type(name).__name__)}", key="name")
    return Study(resolve_study(None if name is None else os.fspath(name), storage))


class Campaign:
    """A campaign, whose driver is a process of its own: it goes on when this object, or this process, is gone.

    Do not make one yourself: :func:`pilotune.run`, :meth:`Study.resume` and :attr:`Study.campaigns` return them.

    Args:
        folder: Its run directory.
        process: Its driver, if this process has started it.
        output: What the driver prints, if this process has started it.

    Attributes:
        folder: Its run directory, with the files of its trials.
        id: Its name, the last part of ``folder``.

    Example::

        campaign = pilotune.run("study.yaml", site="perlmutter")
        print(campaign.status.state)
        campaign.wait(check=True)
    """

    def __init__(self, folder: Path, *, process: subprocess.Popen[bytes] | None = None, output: Path | None = None):
        import_optuna()
        self.folder, self.id, self._output = folder, folder.name, output
        if process is not None:
            STARTED.append(process)

    @classmethod
    def of_started(cls, started: Started) -> Campaign:
        """The campaign of a driver that this process has started."""
        assert started.campaign is not None, "launch() raises an error then"
        return cls(started.campaign.folder, process=started.process, output=started.log)

    @property
    def output(self) -> Path:
        """The driver's log."""
        from ..record import RunDirectory

        return RunDirectory(self.folder).log

    @property
    def printed(self) -> str:
        """What the driver has printed, such as an error; empty where another process has started it."""
        return self._output.read_text(errors="replace") if self._output is not None else ""

    @property
    def status(self) -> CampaignStatus:
        """The campaign as it is now. Raises PilotuneError if its run directory is gone."""
        return public_status(self._observe())

    @property
    def study(self) -> Study:
        """The study that it works on."""
        from ..record import known_studies
        from ..studies.resolve import StudyLocation, from_entry

        status, runs = self._observe().status, self.folder.parent.parent
        entry = known_studies.find(status.study)
        if entry is not None and entry.storage == status.storage and entry.runs == runs:
            return Study(from_entry(entry))
        return Study(StudyLocation(status.study, status.storage, runs, run_dir=self.folder))

    def wait(self, timeout: float | None = None, *, progress: bool = True, check: bool = False) -> CampaignStatus:
        """Wait until the campaign has ended.

        Ctrl-C, or an interrupt of the notebook's kernel, ends the waiting only; the campaign goes on.

        Args:
            timeout: Most seconds to wait; None for no limit. When they are over, the campaign goes on.
            progress: Show progress: in a notebook a line that is updated in place, elsewhere as ``pilotune run`` does.
            check: Raise an error unless the campaign has come to its end with a usable result.

        Returns:
            The last status; it is ``alive`` if the time was over first.

        Raises:
            UserError: ``timeout`` is no number of seconds.
            PilotuneError: With ``check``: the campaign died, was stopped, or has no usable result. The message says
                why.
        """
        from ..studies.campaign_status import POLL_INTERVAL

        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0):
            raise UserError(f"must be a number of seconds from 0, or None, but is {timeout!r}", key="timeout")
        deadline = None if timeout is None else time.monotonic() + timeout
        campaign = self._observe()
        try:
            with progress_display(quiet=not progress) as show:
                show(campaign.status)
                while campaign.alive and (deadline is None or time.monotonic() < deadline):
                    left = POLL_INTERVAL if deadline is None else min(POLL_INTERVAL, deadline - time.monotonic())
                    time.sleep(max(0.0, left))
                    campaign = self._observe()
                    show(campaign.status)
        except KeyboardInterrupt:
            print(f"the campaign keeps running; pilotune stop {campaign.status.study} ends it", file=sys.stderr)
            raise
        if check and not campaign.alive and campaign.status.code != 0:
            raise PilotuneError(f"campaign {self.id} of {campaign.status.study!r} {self._end_in_words(campaign)}")
        return public_status(campaign)

    def stop(self, *, now: bool = False, checkpoint: bool = False) -> None:
        """Ask the campaign to end, and return at once; :meth:`wait` waits for it. One that has ended stays as it is.

        Args:
            now: End running trials at once; a resumed study starts them again.
            checkpoint: Ask running trials to save a checkpoint and end; a resumed study continues them. By default
                they finish.
        """
        from ..record import RunDirectory
        from ..trial.files import write_atomically

        if self._observe().alive:
            write_atomically(RunDirectory(self.folder).stop, "now" if now else "yield" if checkpoint else "finish")

    def _observe(self) -> ObservedCampaign:
        """The campaign as its run directory shows it."""
        from ..studies.campaign_status import read_campaign

        for process in STARTED:
            process.poll()
        found = read_campaign(self.folder)
        if found is None:
            raise PilotuneError(f"{self.folder}: there is no status of a campaign; its run directory was deleted")
        return found

    def _end_in_words(self, campaign: ObservedCampaign) -> str:
        if campaign.state == "died":
            return f"died; its driver's log is {self.output}"
        kind = "was stopped" if campaign.word == "stopped" else "ended without a usable result"
        return f"{kind}: {campaign.status.reason}"

    def __repr__(self) -> str:
        try:
            found = self._observe()
        except PilotuneError:
            return f"<pilotune.Campaign {self.id}: its run directory was deleted>"
        return f"<pilotune.Campaign {self.id} of {found.status.study}: {found.word}>"

    def _repr_html_(self) -> str:
        """The campaign in a notebook."""
        from ..studies.progress import status_line

        try:
            found = self._observe()
        except PilotuneError:
            return escape(repr(self))
        line, name = status_line(found.status), escape(found.status.study)
        end = f" ({escape(found.status.reason)})" if found.status.reason else ""
        return f"<b>{name}</b>, campaign {escape(self.id)}: {escape(found.word)}{end}<br><code>{escape(line)}</code>"


class Study:
    """A study in its database. Each call reads it anew, so it is never out of date.

    Do not make one yourself: :func:`pilotune.open` and :attr:`Campaign.study` return them.

    Args:
        location: Where the study is.

    Attributes:
        name: Its name.
        storage: URL of its database, without a password.

    Raises:
        UserError: In all methods: the database or the study is not there.
        RecordAway: In all methods: the database does not answer.
    """

    def __init__(self, location: StudyLocation):
        import_optuna()
        self._location = location
        self.name, self.storage = location.name, location.storage

    # -- results ------------------------------------------------------------------------------------------------------

    @property
    def best(self) -> Row:
        """The best complete trial, as ``pilotune best`` chooses it, with its ``number``, ``params`` and ``values``.

        Raises PilotuneError if no trial has completed, and UserError if the Pareto front has several.
        """
        from ..analysis.best import single_best

        return single_best(self._read(), SEVERAL)

    @property
    def best_trials(self) -> list[Row]:
        """The best complete trial, or those on the Pareto front by number; empty before the first."""
        from ..analysis import best_trials

        return best_trials(self._read())

    @property
    def best_params(self) -> dict[str, Any]:
        """Parameters and constants of the best trial as its objective had them, to train with."""
        from ..analysis import best_params

        return best_params(self._read(), choose=SEVERAL)

    @property
    def certainty(self) -> CautiousBest | None:
        """How sure the best trial is, where trials were repeated; None elsewhere."""
        from ..analysis import certainty

        return certainty(self._read())

    @property
    def schedule(self) -> list[Stage]:
        """The stages that led to the best trial of population-based training; empty for other studies."""
        from ..analysis import best_trials, schedule_of

        data = self._read()
        front = best_trials(data)
        return schedule_of(data, front[0].number) if len(front) == 1 and front[0].start_step is not None else []

    @property
    def summary(self) -> Summary:
        """The numbers of trials in each state, the kinds of failures, and the best trial."""
        from ..analysis import summarize

        return summarize(self._read())

    @property
    def cost(self) -> StudyCost | None:
        """Node-hours of the study's blocks and trials, and what pruning saved; None where that is not known."""
        from ..analysis import study_cost

        return study_cost(self._read())

    def trials(self) -> pd.DataFrame:
        """All trials as a table, with the columns of ``pilotune export``: one row for each trial."""
        from ..analysis import dataframe

        return dataframe(self._read())

    def reports(self) -> pd.DataFrame:
        """All values that trials have reported, one row for each trial and step."""
        from ..analysis.tables import reports_frame

        return reports_frame(self._read())

    def optuna(self) -> OptunaStudy:
        """The study as plain Optuna opens it, for its plots and samplers. It can write, so leave the trials to it."""
        import optuna

        self._read()  # says what is wrong in a sentence
        return optuna.load_study(study_name=self.name, storage=self.storage)

    @property
    def plot(self) -> Plots:
        """The plots of ``pilotune plot``, one method for each kind: ``study.plot.history()``."""
        from .plots import Plots

        return Plots(self._read)

    def verify(self) -> Audit:
        """Check that the database has every result that a worker wrote, exactly once, as ``pilotune verify`` does.

        Returns:
            What was found: its ``ok`` says whether all is well, its ``violations`` what is not.
        """
        from ..analysis.audit import audit
        from ..studies.unfinished_jobs import add_unfinished_jobs

        found = audit(self.storage, self.name)
        add_unfinished_jobs(found)
        return found

    # -- campaigns ----------------------------------------------------------------------------------------------------

    @property
    def campaigns(self) -> list[Campaign]:
        """The campaigns of this account on the study, newest first."""
        from ..studies.campaign_status import list_campaigns

        return [Campaign(each.folder) for each in list_campaigns(self._location.runs, self.name)]

    def resume(
        self,
        *,
        trials: int | None = None,
        site: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        set: Mapping[str, Any] | None = None,
    ) -> Campaign:
        """Run the study again in the background, with the options of its last run; finished trials count.

        Args:
            trials: A new total number of trials; by default that of the last run.
            site: Another site, or a list of sites.
            set: Changes of keys of the study file or the site file: ``{"budget.time": "2h"}``.

        Raises:
            UserError: The study file is gone, an option is wrong, or another driver runs the study.
            SiteError: The site, a disk or the database refused.
        """
        from ..studies.request import Request
        from ..studies.resumed import resumed
        from .arguments import settings, site_names
        from .launch import launch

        changes = Request("", sites=site_names(site), trials=trials, overrides=settings(set), quiet=True)
        return Campaign.of_started(launch(resumed(self._location, changes)))

    # -- in a notebook ------------------------------------------------------------------------------------------------

    def _read(self, parts: Collection[str] | None = None) -> StudyData:
        from ..analysis import read_study

        return read_study(self.storage, self.name, parts)

    def __repr__(self) -> str:
        return f"<pilotune.Study {self.name} in {self.storage}>"

    def _repr_html_(self) -> str:
        """The study in a notebook: its counts, and its best trials."""
        from ..studies.formatting import number

        found = self.summary
        states = ("complete", "pruned", "failed", "running", "interrupted", "paused", "waiting")
        counts = ", ".join(f"{getattr(found, state)} {state}" for state in states if getattr(found, state))
        head = f"<b>{escape(self.name)}</b>: {escape(counts) or 'no trials'}"
        if not found.best:
            return head
        names = list(dict.fromkeys(name for row in found.best for name in row.params))
        lines = [
            [str(row.number), *map(number, row.values.values()), *(number(row.params.get(name)) for name in names)]
            for row in found.best
        ]
        return f"{head}<br>{_table(['best trial', *found.metrics, *names], lines)}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts, which are escaped.

    >>> _table(["a<b"], [["1"]])
    '<table><tr><th>a&lt;b</th></tr><tr><td>1</td></tr></table>'
    """
    rows = [f"<th>{'</th><th>'.join(map(escape, head))}</th>"]
    rows += [f"<td>{'</td><td>'.join(map(escape, line))}</td>" for line in lines]
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
