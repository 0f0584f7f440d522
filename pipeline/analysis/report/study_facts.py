"""Collects what a report says of a study: what was asked and came out, why trials failed, where they ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ....grammar import count
from ...attributes import DEFINITION, LEASE, SETUP, VERSION
from ..best import certainty
from ..costs import cost_sentences, study_cost
from ..plots import Trials, figures_that_suit
from ..plots.timing import Block, blocks_of, lasted
from ..reading import StudyData, safe_url
from ..summary import Summary, summarize
from ..tables import Row
from .parts import Section, StudyReport, Table, pairs, shown

MOST_ROWS = 20
"""Rows of a table that has one for each trial, cause, host or block: the first of them by weight."""

LONGEST_REASON = 200
"""Characters of a reason."""


def study_report(data: StudyData, metric: str | None = None) -> StudyReport:
    """All that a report says of a study. ``metric``: which objective the plots show; None: the first."""
    trials = Trials(data, metric)
    summary = summarize(data, trials.rows)
    sections = [
        asked(data),
        came_out(data, summary, trials),
        plots(trials),
        failures(summary, trials.rows),
        places(data, trials),
        hours(data, trials),
        environment(data),
        reproduce(data),
    ]
    return StudyReport(data.name, sections)


def plots(trials: Trials) -> Section:
    """All plots that suit the study, or a sentence on why there is none."""
    figures = figures_that_suit(trials)
    text = [] if figures else [f"There is nothing to draw: {trials.standing()}."]
    return Section("plots", "Plots", text, figures=figures)


def asked(data: StudyData) -> Section:
    """Objectives, space and constants."""
    goals = [f"{direction} {metric}" for metric, direction in zip(data.metrics, data.directions, strict=True)]
    definition = data.system_attrs.get(DEFINITION, data.user_attrs.get(DEFINITION))
    space = definition.get("space") if isinstance(definition, Mapping) else None
    parameters = space.get("parameters") if isinstance(space, Mapping) else None
    if isinstance(parameters, Mapping) and parameters:
        rows = [(name, *_described(each)) for name, each in parameters.items() if isinstance(each, Mapping)]
    else:
        rows = [(name, *_distribution(each)) for name, each in _distributions(data).items()]
    tables = (
        [Table("Parameters that were searched", ("parameter", "kind", "values", "condition"), rows)] if rows else []
    )
    if data.constants:
        tables.append(pairs("Constants", list(data.constants.items()), ("constant", "value")))
    return Section("asked", "What was asked", [f"To {' and '.join(goals)}."], tables)


def _described(parameter: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, values and condition of a parameter as the study's definition has it."""
    kind = str(parameter.get("kind", ""))
    if "choices" in parameter:
        values = ", ".join(shown(each) for each in parameter["choices"])
    else:
        log, step = parameter.get("log"), parameter.get("step")
        values = f"{shown(parameter.get('low'))} to {shown(parameter.get('high'))}"
        values += ", logarithmic" if log else f", step {shown(step)}" if step not in (None, 1) else ""
    when = parameter.get("when") or {}
    conditions = (f"{name}: {_listed(value)}" for name, value in when.items())
    return kind, values, ", ".join(conditions) if when else "always"


def _listed(value: Any) -> str:
    return " or ".join(map(shown, value)) if isinstance(value, list) else shown(value)


def _distributions(data: StudyData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for trial in data.trials:
        found = trial.distributions | found if trial.distributions.keys() - found.keys() else found
    return found


def _distribution(each: Any) -> tuple[str, str, str]:
    """The same of a distribution of Optuna's."""
    if hasattr(each, "choices"):
        return "choice", ", ".join(shown(choice) for choice in each.choices), ""
    log = ", logarithmic" if each.log else ""
    return type(each).__name__.removesuffix("Distribution").lower(), f"{shown(each.low)} to {shown(each.high)}{log}", ""


def came_out(data: StudyData, summary: Summary, trials: Trials) -> Section:
    """Counts, the best trial with its interval, and what is as good for all that is known."""
    states = ("complete", "pruned", "failed", "running", "interrupted", "paused", "waiting")
    counts = [(state, getattr(summary, state)) for state in states if getattr(summary, state)]
    tables, text = [pairs("Trials", [("all", summary.total), *counts], ("state", "trials"))], []
    front = summary.best
    if not front:
        return Section("result", "What came out", ["No trial has completed, so there is no best one."], tables)
    if len(data.metrics) > 1:
        shown_front = front[:MOST_ROWS]
        more = f" The first {MOST_ROWS} are listed." if len(front) > MOST_ROWS else ""
        text.append(f"{count(len(front), 'trial')} on the Pareto front.{more}")
        tables.append(_trials_table("Pareto front", data, shown_front))
        return Section("result", "What came out", text, tables)
    best, sure = front[0], certainty(data)
    metric = data.metrics[0]
    text.append(f"The best is trial {best.number}: {metric} {shown(best.values[metric])}.")
    if sure is not None:
        text.append(f"Trials were repeated: its true mean lies between {shown(float(sure.low))} and "
                    f"{shown(float(sure.high))} with a probability of 90 %.")  # fmt: skip
        alike = ", ".join(map(str, sure.alike[:MOST_ROWS]))
        text.append(f"{count(len(sure.alike), 'trial')} cannot be told apart from it: {alike}." if sure.alike
                    else "No other trial is as good, for all that is known.")  # fmt: skip
    else:
        text.append("Trials were not repeated, so how much of a difference is noise is not known.")
    tables.append(pairs(f"Parameters of trial {best.number}", list(best.params.items()), ("parameter", "value")))
    tables.append(_trials_table("The best trials", data, _ranked(trials)[:10]))
    return Section("result", "What came out", text, tables)


def _ranked(trials: Trials) -> list[Row]:
    """The complete trials that break no constraint, the best first."""
    found = np.flatnonzero(trials.complete & trials.feasible)
    order = np.argsort(trials.value[found] * (-1.0 if trials.maximize else 1.0), kind="stable")
    return [trials.rows[int(at)] for at in found[order]]


def _trials_table(caption: str, data: StudyData, rows: Sequence[Row]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    spread = any(row.spread for row in rows)
    head = ["trial", *data.metrics, *(["runs", "standard deviation"] if spread else []), *names]
    cells = []
    for row in rows:
        runs = [str(len(row.repetitions)), ", ".join(f"{each:.2g}" for each in row.spread.values())] if spread else []
        values = [shown(row.values[metric]) for metric in data.metrics]
        cells.append(
            [str(row.number), *values, *runs, *(shown(row.params[n]) if n in row.params else "" for n in names)]
        )
    return Table(caption, head, cells)


def failures(summary: Summary, rows: Sequence[Row]) -> Section:
    """Failed trials by cause."""
    failed = [row for row in rows if row.state == "failed"]
    if not failed:
        return Section("failures", "Failures", ["No trial failed."])
    causes = Counter((row.exit, row.reason) for row in failed)
    first = {(row.exit, row.reason): row.number for row in reversed(failed)}
    lines = [(kind or "unknown", f"{number:,}", str(first[kind, reason]), _cut(reason))
             for (kind, reason), number in causes.most_common(MOST_ROWS)]  # fmt: skip
    share = 100.0 * len(failed) / max(1, summary.total)
    more = f" The {MOST_ROWS} most frequent causes are listed." if len(causes) > MOST_ROWS else ""
    text = f"{count(len(failed), 'trial')} failed ({share:.3g} %).{more}"
    return Section("failures", "Failures", [text], [Table("By cause", ("kind", "trials", "first", "reason"), lines)])


def _cut(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def places(data: StudyData, trials: Trials) -> Section:
    """Where trials ran: hosts, and blocks with their waits."""
    attempts, blocks = trials.attempts, blocks_of(data)
    if not attempts:
        return Section("places", "Nodes and blocks", ["Where trials ran is not known."])
    by_host: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in attempts:
        by_host[each.host or "?", each.pool].append(each)
    order = sorted(by_host.items(), key=lambda item: -len(item[1]))
    hosts = [(host, pool, f"{len(found):,}", str(sum(each.how == "failed" for each in found)),
              str(sum(each.how == "lost" for each in found)), lasted(sum(each.ended - each.began for each in found)))
             for (host, pool), found in order[:MOST_ROWS]]  # fmt: skip
    tables = [Table("Nodes", ("node", "pool", "attempts", "failed", "lost", "ran"), hosts)]
    if blocks:
        tables.append(_blocks_table(blocks))
    within = f" in {count(len(blocks), 'block')}" if blocks else ""
    text = f"{count(len(attempts), 'attempt')} on {count(len(by_host), 'node')}{within}."
    most = max(len(by_host), len(blocks))
    text += f" At most {MOST_ROWS} are listed." if most > MOST_ROWS else ""
    return Section("places", "Nodes and blocks", [text], tables)


def _blocks_table(blocks: Sequence[Block]) -> Table:
    lines = []
    for each in blocks[:MOST_ROWS]:
        waited = "" if each.started is None else lasted(each.started - each.queued)
        ran = "" if each.started is None or each.ended is None else lasted(each.ended - each.started)
        lines.append(
            (f"{each.pool} {each.block}", each.job, str(each.nodes), str(each.workers), waited, ran, each.reason)
        )
    return Table("Blocks", ("block", "job", "nodes", "workers", "in the queue", "ran", "why it ended"), lines)


def hours(data: StudyData, trials: Trials) -> Section:
    """Hours of workers and nodes, and what pruning saved."""
    by_state: dict[str, float] = defaultdict(float)
    for row in trials.rows:
        by_state[row.state] += row.seconds or 0.0
    total = sum(by_state.values())
    rows: list[tuple[str, Any]] = [("trials in all", lasted(total))]
    rows += [(f"of these {state}", lasted(seconds)) for state, seconds in by_state.items() if seconds]
    nodes = sum((each.ended - each.started) * each.nodes for each in blocks_of(data)
                if each.started is not None and each.ended is not None)  # fmt: skip
    if nodes:
        rows.append(("blocks", f"{nodes / 3600:.4g} node-hours"))
    cost = study_cost(data)
    text = [f"{each[0].upper()}{each[1:]}." for each in cost_sentences(cost)] if cost else []
    return Section("hours", "Hours and pruning", [*saved(trials.rows), *text], [pairs("Time", rows, ("what", "time"))])


def saved(rows: Sequence[Row]) -> list[str]:
    """What pruning saved, as a sentence: pruned trials against the median time of complete ones."""
    pruned = [row.seconds for row in rows if row.state == "pruned" and row.seconds is not None]
    complete = [row.seconds for row in rows if row.state == "complete" and row.seconds is not None]
    if not pruned or not complete:
        return [
            "No trial was pruned." if not pruned else "No trial has completed that pruned ones could be compared with."
        ]
    typical = float(np.median(complete))
    gain = sum(max(0.0, typical - seconds) for seconds in pruned)
    share = 100.0 * gain / max(1e-9, gain + sum(row.seconds or 0.0 for row in rows))
    return [
        f"{count(len(pruned), 'trial')} pruned, after {lasted(float(np.median(pruned)))} in the median.",
        f"Complete trials took {lasted(typical)} in the median. Had the pruned ones taken as long, the study would "
        f"have taken {lasted(gain)} more: pruning saved about {share:.3g} % of the time.",
    ]


def environment(data: StudyData) -> Section:
    """The campaigns, with sites and versions."""
    lines = []
    for key, lease in sorted(data.system_attrs.items()):
        if not key.startswith(LEASE) or not isinstance(lease, Mapping):
            continue
        campaign = key.removeprefix(LEASE)
        setup = data.system_attrs.get(SETUP + campaign)
        setup = setup if isinstance(setup, Mapping) else {}
        versions = setup.get("versions")
        named = {"Python": setup.get("python"), **(versions if isinstance(versions, Mapping) else {})}
        ended = "" if campaign in data.live else _moment(lease.get("heartbeat"))
        lines.append((campaign, _moment(lease.get("started")), ended, str(setup.get("site", "")),
                      str(setup.get("scheduler", "")), str(lease.get("host", "")),
                      ", ".join(f"{name} {version}" for name, version in named.items() if version)))  # fmt: skip
    rows = [("database", safe_url(data.url)), ("created by", f"Pilotune {data.user_attrs[VERSION]}"
             if VERSION in data.user_attrs else "another program")]  # fmt: skip
    tables = [pairs("Study", rows, ("what", ""))]
    if lines:
        head = ("campaign", "began (UTC)", "ended (UTC)", "site", "scheduler", "driver's host", "versions")
        tables.append(Table("Campaigns", head, lines))
    return Section("environment", "Environment and versions", [], tables)


def _moment(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def reproduce(data: StudyData) -> Section:
    """The study file of the last campaign, and the commands."""
    setups = {key: value for key, value in data.system_attrs.items() if key.startswith(SETUP)}
    last = setups[max(setups)] if setups else {}
    text = last.get("study") if isinstance(last, Mapping) else None
    commands = [f"pilotune export {data.name} --best -o best.yaml", "pilotune try study.yaml --params best.yaml"]
    if not isinstance(text, str):
        return Section("reproduce", "How to reproduce", [
            "The study file is not in the record (plain Optuna and Pilotune 0.1.0 keep none). With the study file, "
            "these commands run the best trial again:"], code="\n".join(commands))  # fmt: skip
    return Section("reproduce", "How to reproduce", [
        "Save the text below as study.yaml, beside the objective that it names. pilotune run study.yaml repeats the "
        "study; the two commands at its top run the best trial again. Trials that run at once end in another order "
        "each time, so a sampler may suggest others."],
        code=f"# {commands[0]}\n# {commands[1]}\n{text}")  # fmt: skip
