"""The auditor: whether a study's database and what its workers wrote agree. It reads both, and writes nothing."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import UserError
from .reading import nearest, reading, safe_url, studies_of
from .tables import STATES

if TYPE_CHECKING:
    from .audit_files import Written
    from .audit_rows import Claims, Kept

Severity = Literal["violation", "note"]


@dataclass(frozen=True)
class Finding:
    """Something that the auditor has to say.

    Attributes:
        severity: ``violation``: a promise is broken. ``note``: worth knowing, and nothing is wrong.
        what: One sentence.
        trial: The number of the trial that it is about.
        file: The file that it is about.
    """

    severity: Severity
    what: str
    trial: int | None = None
    file: str | None = None


@dataclass
class Audit:
    """What was found.

    Attributes:
        study: Its name.
        trials: How many the database has.
        states: How many of each state.
        outcomes: ``written``, how many outcome files there are that end an attempt or that nobody can read; and how
            many of them had which fate (``audit_outcomes.FATES``).
        dead: Run directories of campaigns whose drivers are dead.
    """

    study: str
    trials: int = 0
    states: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    dead: list[Path] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations

    @property
    def violations(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "violation"]

    def violation(self, what: str, trial: int | None = None, file: Path | None = None) -> None:
        self.findings.append(Finding("violation", what, trial, str(file) if file else None))

    def note(self, what: str, trial: int | None = None, file: Path | None = None) -> None:
        self.findings.append(Finding("note", what, trial, str(file) if file else None))

    def to_json(self) -> dict[str, Any]:
        """Stable keys."""
        return {
            "study": self.study,
            "trials": self.trials,
            "states": self.states,
            "outcomes": self.outcomes,
            "findings": [asdict(finding) for finding in self.findings],
            "ok": self.ok,
        }


def audit(url: str, name: str) -> Audit:
    """Check the study ``name`` in the database at ``url`` and in its run directories, also while campaigns work on it.

    Files are read before the database, so that what a campaign does meanwhile cannot look like a loss.

    Raises:
        UserError: No database, no study of that name, or not an Optuna database.
        RecordAway: The database does not answer.
    """
    from sqlalchemy.exc import DatabaseError, OperationalError

    found = Audit(name)
    with reading(url) as link:
        try:
            from . import audit_rows

            audit_rows.steady(link)
            for what in audit_rows.own_check(link):
                found.violation(what)
            ids = studies_of(link)
            if name not in ids:
                raise UserError(f"no study {name!r} in {safe_url(url)}{nearest(name, list(ids))}")
            for what in audit_rows.strays(link):
                found.violation(what)
            known = audit_rows.claims(link, ids[name])
        except DatabaseError as error:
            if isinstance(error, OperationalError) or "malformed" not in str(error):
                raise
            found.violation(f"the database file is damaged: {error.orig}")
            return found
    written = _files(found, known)
    with reading(url) as link:
        audit_rows.steady(link)
        known = audit_rows.claims(link, known.study_id)
        kept = audit_rows.read_kept(link, known.study_id)
    _check(found, known, kept, written)
    return found


def _files(found: Audit, known: Claims) -> list[Written]:
    """The outcome files in the run directories of all campaigns."""
    from ..record import RunDirectory
    from .audit_files import read_trials

    written: list[Written] = []
    for run in dict.fromkeys(os.path.realpath(lease.run) for lease in known.leases.values() if lease.run):
        folder = RunDirectory(Path(run)).trials
        try:
            written += read_trials(folder)
        except FileNotFoundError:
            found.note("the run directory is gone, or cannot be seen from here; nothing in it was checked",
                       file=Path(run))  # fmt: skip
        except OSError as error:
            found.note(f"the run directory cannot be read ({error.strerror}); nothing in it was checked", file=folder)
    return written


def _check(found: Audit, known: Claims, kept: Mapping[int, Kept], written: list[Written]) -> None:
    trials = sorted(kept.values(), key=lambda trial: trial.number)
    found.trials = len(trials)
    counts = Counter(trial.state for trial in trials)
    found.states = {state: counts[state] for state in STATES}
    found.dead = [Path(lease.run) for lease in known.leases.values() if lease.run and lease.campaign not in known.alive]
    written = _completed(trials, written)
    _check_numbers(found, trials)
    _check_trials(found, known, trials)
    _check_unfinished(found, known, trials)
    _check_budget(found, known, trials)
    _check_leases(found, known)
    _check_outcomes(found, known, trials, written)


def _completed(trials: Iterable[Kept], written: list[Written]) -> list[Written]:
    """With the outcomes of trials that ended while the others were read, or whose folder is in no run directory."""
    from .audit_files import read_trial

    seen = {(each.number, each.attempt) for each in written}
    more = [
        each
        for trial in trials
        if trial.final and trial.directory and (trial.number, trial.attempt) not in seen
        for each in read_trial(Path(os.path.realpath(trial.directory)), trial.number)
        if (each.number, each.attempt) not in seen
    ]
    return written + more


# -- the database alone -----------------------------------------------------------------------------------------------


def _check_numbers(found: Audit, trials: Sequence[Kept]) -> None:
    counts = Counter(trial.number for trial in trials)
    for number, count in counts.items():
        if count > 1:
            found.violation(f"{count} trials have the number {number}", number)
    holes = sorted(set(range(len(trials))) - counts.keys())
    if holes and len(counts) == len(trials):
        found.violation(f"of {len(trials)} trials none has {_numbers(holes)}")


def _check_trials(found: Audit, known: Claims, trials: Sequence[Kept]) -> None:
    for trial in trials:
        what = _wrong(trial, known.directions)
        if what:
            found.violation(f"trial {trial.number} {what}", trial.number)


def _wrong(trial: Kept, directions: int) -> str:
    """What is wrong with a trial in the database."""
    if trial.state == "complete" and trial.objectives != list(range(directions)):
        return f"is complete and has {len(trial.values)} values where the study has {directions} directions"
    if trial.values and trial.state not in ("complete", "pruned"):
        return f"is {trial.state} and has a value"
    if trial.exit is None or trial.learned is not None:
        return ""
    state = {"complete": "complete", "pruned": "pruned"}.get(trial.exit, "failed")
    if state != trial.state:
        return f"is {trial.state} and says that it ended so: {trial.exit}"
    if trial.attempts != trial.attempt and trial.owner is not None:
        return f"was told after {trial.attempts} attempts, and {trial.attempt} had begun"
    return ""


def _check_unfinished(found: Audit, known: Claims, trials: Iterable[Kept]) -> None:
    """Who goes on with trials that have not ended."""
    by_owner: dict[str | None, list[int]] = defaultdict(list)
    for trial in trials:
        if trial.state == "running":
            by_owner[None if trial.owner is None else str(trial.owner)].append(trial.number)
    for owner, numbers in by_owner.items():
        if owner is None:
            found.note(f"{_numbers(numbers)} began in another program than Pilotune, which alone can end them")
        elif owner not in known.alive:
            found.note(f"{_numbers(numbers)} of campaign {owner}, which is over, can be resumed: "
                       f"pilotune resume {found.study}")  # fmt: skip
    waiting = [trial.number for trial in trials if trial.state == "waiting"]
    if waiting and not known.alive:
        found.note(f"{_numbers(waiting)} wait for the next campaign: pilotune resume {found.study}")


def _check_budget(found: Audit, known: Claims, trials: Iterable[Kept]) -> None:
    """No campaign asks beyond the largest budget that any of them had."""
    budgets = [_budget(Path(lease.run)) for lease in known.leases.values()]
    if not budgets or any(budget is None for budget in budgets):
        return
    most = max(budget for budget in budgets if budget is not None)
    asked = sum(1 for trial in trials if trial.state != "waiting" and trial.learned is None)
    ours = sum(1 for trial in trials if trial.owner is not None and trial.state != "waiting")
    if ours > most:
        found.violation(f"{ours} trials were asked for, and the largest budget was {most:g}")
    elif asked > most:
        found.note(f"there are {asked} trials, more than the budget of {most:g}: {asked - ours} of another program")


def _budget(run: Path) -> float | None:
    """The trials that a campaign's study file allows; infinite without a limit, None where it cannot be read."""
    import yaml

    from ..record import RunDirectory

    try:
        data = yaml.safe_load(RunDirectory(run).study_file.read_text(encoding="utf-8"))
        trials = data["budget"]["trials"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
    return float("inf") if trials is None else float(trials) if type(trials) is int else None


def _check_leases(found: Audit, known: Claims) -> None:
    for lease in known.leases.values():
        if lease.state == "running" and lease.campaign not in known.alive:
            found.note(f"the driver of campaign {lease.campaign} (process {lease.pid} on {lease.host}) died; "
                       f"pilotune resume {found.study} goes on")  # fmt: skip


# -- the database and the files ---------------------------------------------------------------------------------------


def _check_outcomes(found: Audit, known: Claims, trials: Iterable[Kept], written: Iterable[Written]) -> None:
    from .audit_outcomes import FATES, invented

    claimed: dict[int, list[Kept]] = defaultdict(list)
    for trial in trials:
        claimed[trial.number].append(trial)
    files: dict[int, list[Written]] = defaultdict(list)
    for each in written:
        files[each.number].append(each)
    fates: Counter[str] = Counter()
    for number, several in sorted(files.items()):
        _check_files(found, known, claimed.get(number, []), several, fates)
    for number, (trial, *_) in claimed.items():
        what = invented(trial, {each.attempt: each for each in files.get(number, ())})
        if what:
            found.violation(f"trial {number}: {what}", number)
    _check_missing(found, [trial for trial in trials if trial.final], files)
    found.outcomes = {"written": fates.total(), **{fate: fates[fate] for fate in FATES}}


def _check_files(found: Audit, known: Claims, claimed: list[Kept], files: list[Written], fates: Counter[str]) -> None:
    """All outcome files of one number."""
    from .audit_outcomes import judge

    tokens = Counter(each.token for each in files if each.tells)
    for each in files:
        if each.problem:
            fates["unreadable"] += 1
            found.note(f"an outcome cannot be read: {each.problem}", each.number, each.path)
        if not each.tells:
            continue
        place = _next_place(known, claimed[0]) if claimed else ""
        verdict = judge(each, claimed, known.directions, each.attempt > 1, place)
        if tokens[each.token] > 1:
            verdict = verdict._replace(fate="doubled", words=f"{tokens[each.token]} files tell of the same attempt")
        fates[verdict.fate] += 1
        what = f"trial {each.number}, attempt {each.attempt}: its outcome is {verdict.fate}; {verdict.words}"
        if verdict.fate in ("lost", "doubled", "altered"):
            found.violation(what, each.number, each.path)
        elif verdict.words:
            found.note(what, each.number, each.path)


def _next_place(known: Claims, trial: Kept) -> str:
    """The folder in which the driver that takes a trial over will look for its outcome; empty while it has a driver."""
    from ..record import RunDirectory

    owner = str(trial.owner)
    if owner in known.alive:
        return ""
    left = trial.left if isinstance(trial.left, dict) else {}
    lease = known.leases.get(owner)
    home = str(RunDirectory(Path(lease.run)).trial(trial.number).directory) if lease and lease.run else ""
    return str(trial.directory or left.get("directory") or home)


def _check_missing(found: Audit, trials: Iterable[Kept], files: Mapping[int, list[Written]]) -> None:
    """Trials that a worker ended, and whose last attempt left no file where other files are."""
    missing = [
        trial.number
        for trial in trials
        if trial.exit not in (None, "lost")
        and trial.directory
        and os.path.isdir(os.path.dirname(trial.directory))
        and all(each.attempt != trial.attempt for each in files.get(trial.number, ()))
    ]
    if missing:
        found.note(f"of {_numbers(missing)} there is a result in the database and no outcome file: it could not be "
                   "written, or it was deleted")  # fmt: skip


def _numbers(numbers: Sequence[int], most: int = 8) -> str:
    """``trial 3``, ``trials 3, 4 and 7``, ``trials 3, 4, ... and 90 more``."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    if len(numbers) > most:
        return f"trials {', '.join(map(str, numbers[:most]))} and {len(numbers) - most} more"
    return f"trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
