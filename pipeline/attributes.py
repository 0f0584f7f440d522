"""Every ``pilotune:*`` key in the database, once: attributes of studies and trials that Pilotune writes for itself.

The database has Optuna's plain schema, so these keys sit beside those of Optuna and of the user. *System attributes*
steer the campaigns and hold technical notes; *user attributes* are the few notes that people look for, since Optuna's
dashboard and ``study.trials_dataframe()`` show them. Numbers of seconds are rounded to milliseconds. This module
imports nothing of Pilotune, so that every room may import it.

In earlier versions the definition, the traceback and all details were user attributes. Databases with that layout are
read as they are: see ``details_of``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

PREFIX = "pilotune:"
"""How all keys of this module begin. An objective's own attributes must not, so they are left out of its outcome."""

STEERING = (
    *(PREFIX, "fixed_params", "grid_id", "search_space", "completed_rung_", "tpe:", "gp:", "cma:", "qmc:"),
    *("NSGAIISampler:", "NSGAIIISampler:", "BaseGASampler:"),
)
"""How system attributes begin by which campaigns, samplers and pruners steer; an objective must not change them."""

# -- of a study -------------------------------------------------------------------------------------------------------

DEFINITION = "pilotune:study"
"""Study system attribute: the space, the directions and the metrics that the study was created with.

Written by ``open_study`` when it creates a study, and compared with the study file whenever the study is opened. It is
long, so it is no user attribute: Optuna's dashboard and ``optuna studies`` would show all of it. Earlier versions wrote
it as a user attribute; ``open_study`` moves it."""

VERSION = "pilotune:version"
"""Study user attribute: the version of Pilotune that created the study. Written by ``open_study``."""

LEASE = "pilotune:campaign:"
"""Prefix of study system attributes; a campaign's id follows. The lease of that campaign, as ``Lease.to_json``.

Written by the campaign's driver every few seconds; a driver that takes over a dead campaign's trials marks it dead."""

CALLBACKS = "pilotune:callbacks:"
"""Prefix of study system attributes; a campaign's id follows. The trials whose callbacks are still to be called:
``{number: how often another campaign has taken them over}``.

Written with the end of a trial, where the study file has callbacks, and again when they have returned."""

TICK = "pilotune:tick:"
"""Prefix of study system attributes; a random id of a storage object follows. How many commits that object has made.

Written by each commit, and read when the answer to a COMMIT was lost. No ``StudyCache`` shows these attributes."""

BLOCKS = "pilotune:blocks:"
"""Prefix of study system attributes; a campaign's id, a colon and a number follow. The blocks of that campaign, up to a
hundred in each attribute, as ``[pool, block, job, queued, started, ended, workers, nodes, reason, joined]``.

Times are Unix seconds, and null where they are not known (yet). ``workers``: the most that were connected at once.
``joined``: when its first worker was connected.
Written by the campaign's driver with the renewal of its lease, where a block has changed."""

UTILIZATION = "pilotune:utilization:"
"""Prefix of study system attributes; a campaign's id follows: ``[busy, connected]``, the seconds for which its workers
ran trials, and for which they were connected.

Written by the campaign's driver with the renewal of its lease, and at its end."""

HOURS = "pilotune:hours:"
"""Prefix of study system attributes; a campaign's id follows: ``{"pools": {pool: [used, most, gpus, busy, held,
taken, taking]}, "over": false, "at": time}``, what the blocks of that campaign have cost.

``used``: node-seconds that the scheduler has charged; ``most``: the most that it can charge in all; ``gpus``: GPUs of a
node; ``busy``: node-seconds of attempts that have ended; ``held``: nodes that blocks hold; ``taken``, ``taking``: the
node-seconds of running attempts, and their nodes; ``at``: when that was, Unix seconds (0 where none is held); ``over``:
none of its jobs is left, so nothing more is charged.
Written before the campaign may submit a block that a budget in node-hours limits, with the renewal of its lease, and at
its end. A driver that finds a dead campaign's jobs to be over writes what they cost, and sets ``over``."""

SETUP = "pilotune:setup:"
"""Prefix of study system attributes; a campaign's id follows. With what the campaign ran: ``{"site": name,
"scheduler": ..., "host": ..., "python": ..., "versions": {package: version}, "memory": {pool: bytes that a trial could
have there}, "study": text of the study file}``; of a campaign on several sites also ``"pools": {pool: its site},
"local": [pools on the driver's host]``.

Written once, when the campaign begins. The text has no secrets; it is that of ``study.yaml`` in the run directory."""

RENAMED = "pilotune:renamed"
"""Study system attribute: the name that the study had before. Written by ``rename_study``."""

EARLIER = "pilotune:earlier"
"""Study system attribute: what the study learns from others: ``{"studies": [...], "narrowed": {...}}``.

The trials of each study by name, with normal scores instead of values, as ``EarlierStudy.to_json``; and by parameter
the narrowed distribution as Optuna's JSON. Written when the study is first opened, and never changed."""

# -- of a trial, for the campaigns ------------------------------------------------------------------------------------

OWNER = "pilotune:campaign"
"""Trial system attribute: id of the campaign that runs the trial.

Written by ``RecordStorage`` when the trial is created or started, and by a campaign that takes the trial over."""

ATTEMPT = "pilotune:attempt"
"""Trial system attribute: number of the latest attempt, counted from 1. Reports of earlier attempts are refused.

Written by ``CampaignStudy.fence`` before an attempt is submitted."""

NOT_BEGUN = "pilotune:not_begun"
"""Trial system attribute: the latest attempt, where a campaign ended before a worker began it or any earlier one.

Written by ``HeldTrials.leave``, and by the campaign that takes the trial over where its driver was killed.
The trial has never run while this is the number in ATTEMPT; absent means 0."""

LEFT = "pilotune:left"
"""Trial system attribute of a trial that was taken over: ``{"campaign": ..., "attempt": ..., "directory": ...}`` of
its latest attempt. Written by ``orphans``, so that a second takeover still finds the files of the first campaign."""

COPIED = "pilotune:copied"
"""Trial system attribute: ``STUDY#NUMBER`` of the trial in the study that this study is a copy of.

Written by ``copy_study``. The files of such a trial belong to the original."""

VERDICT = "pilotune:verdict"
"""Trial system attribute: the step whose report was answered with `prune`; absent where none was.

Written by the campaign with that report, so that a later attempt hears the verdict if this one did not."""

HEARD = "pilotune:heard"
"""Trial system attribute: ``[attempt, bytes]``, how much the driver has read of the trial's newest report log.

Written at the trial's end where its last attempt could not tell all that it had reported; ``pilotune verify`` reads it,
since what the attempt wrote later came too late."""

REPEATS = "pilotune:repeats"
"""Trial system attribute: what each complete repetition of the trial gave, in their order, as a list of
``{"token": ..., "seed": ..., "values": [...], "constraints": {...}}``; absent where trials are not repeated.

Written by the campaign with the end of each repetition. The token is that of the attempt that returned the values, so
no driver counts an outcome twice."""

RUNS = "pilotune:runs"
"""Trial system attribute: the attempts before the last one, as a list of ``[attempt, began, seconds, how, host, pool,
block, worker]``; absent where the first attempt was the last one. At most ``MOST_RUNS``, the latest ones.

``how``: ``lost``, ``failed``, or ``went on`` in another attempt. Written with ATTEMPT, in the same statement."""

MOST_RUNS = 50
"""Most attempts in the attribute RUNS: a population's member may have hundreds."""

GENERATION = "pilotune:generation"
"""Trial system attribute: the generation of a trial that an evolutionary sampler suggested; 0 for one at random.

With a barrier it is the generation of the whole study, else one more than its parents' largest. Written by
``EvolutionSampler`` with the suggestion, as are those that follow."""

PARENT = "pilotune:parent"
"""Trial system attribute: number of the trial that this one is a child of; absent for one at random.

In population-based training: of the trial whose checkpoint it started from. Written by the campaign when it asks for
the trial, as is STEP."""

STEP = "pilotune:step"
"""Trial system attribute: the step of its parent's checkpoint that the trial started from; absent for others."""

SNAPSHOT = "pilotune:snapshot"
"""Trial system attribute: ``[step, folder]``, the newest copy of the trial's checkpoint that others may start from.

Written by the campaign when a trial pauses in population-based training."""

MATE = "pilotune:mate"
"""Trial system attribute: number of the second parent, where there was a crossover."""

KEPT = "pilotune:kept"
"""Trial system attribute: numbers of the trials that were bred without a change before this one, as a list.

Such a child is not run again, but it is in the generation of this trial, as many times as it is listed."""

PROBABILITIES = "pilotune:probabilities"
"""Trial system attribute: by parameter, the probability that its value had when the sampler ``reinforce`` drew it."""

# -- of a trial, for people -------------------------------------------------------------------------------------------

LEARNED = "pilotune:from"
"""Trial user attribute: ``STUDY#NUMBER`` that the trial was copied from. Such a trial does not count for the budget.

Written by ``learn_from``."""

PAUSED = "pilotune:paused"
"""Trial user attribute: the step at which the trial is paused or about to be: at a rung, or in a population.

Null once the trial goes on. Written by the campaign when the trial reaches the rung."""

KILLED = "pilotune:killed"
"""Trial user attribute: host name -> how the trial killed its process or its worker there, as a phrase.

Written by the campaign after such a crash; a trial that did it on two hosts is not tried again."""

REASON = "pilotune:reason"
"""Trial user attribute: why the trial failed, as one sentence. Written at its end."""

ATTEMPTS = "pilotune:attempts"
"""Trial user attribute: number of attempts in all. Written at the trial's end, as are those that follow."""

EXIT = "pilotune:exit"
"""Trial user attribute: how the trial ended, in a word: ``complete``, ``pruned``, ``exception``, ``timeout``, ..."""

ENDED_PAUSED = ("paused", "replaced")
"""What the attribute EXIT is of a trial that had paused and did not go on: for ever at its rung, or because a copy of
another trial took its place."""

HOST = "pilotune:host"
"""Trial user attribute: name of the host that the last attempt ran on."""

SECONDS_WAITING = "pilotune:seconds_waiting"
"""Trial user attribute: seconds that the trial waited for a worker, over all attempts."""

SECONDS_RUNNING = "pilotune:seconds_running"
"""Trial user attribute: seconds that the trial ran, over all attempts."""

PEAK_MEMORY = "pilotune:peak_memory"
"""Trial user attribute: the most memory in bytes that an attempt's processes had on a node; absent where no attempt
was measured, such as those in the worker's own process. Of several nodes it is that of the one that had most."""

NODE_HOURS = "pilotune:node_hours"
"""Trial user attribute: node-hours that the trial took, over all attempts: the seconds that it ran times its nodes, or
its share of a node where others run beside it (the largest of its shares of workers, cores, GPUs and memory)."""

GPU_HOURS = "pilotune:gpu_hours"
"""Trial user attribute: the node-hours times the GPUs of a node; absent where no node had any."""

BEGAN = "pilotune:began"
"""Trial user attribute: when the last attempt began to run, Unix seconds on its worker's clock."""

REPETITIONS = "pilotune:repetitions"
"""Trial user attribute: number of complete repetitions; absent where trials are not repeated. Written at the trial's
end, as is the following one."""

SPREAD = "pilotune:spread"
"""Trial user attribute: standard deviation of the repetitions' values, a list with several objectives; absent where
there are less than two. The trial's value is their mean."""

ARTIFACTS = "pilotune:artifacts"
"""Trial system attribute: bytes of each artifact by name, as the attempt that returned the values left them; absent
where it left none. Only a complete trial's count.

Written by the campaign with the values. The files move to the study's artifacts after that commit."""

DIRECTORY = "pilotune:directory"
"""Trial user attribute: path of the trial's directory."""

TRACEBACK = "pilotune:traceback"
"""Trial system attribute: the objective's traceback. Written when a failed trial ends."""

DETAILS = "pilotune:details"
"""Trial system attribute: technical notes in one dictionary, whose keys follow. Written when the trial ends.

One attribute and not seven, since each is a row of the database and a column of ``study.trials_dataframe()``. Many
trials have the same details and share them in memory, so nothing in them should be different for each trial."""

# Keys of DETAILS. Earlier versions wrote each of them as a user attribute "pilotune:<key>".

POOL = "pool"
"""In the attribute DETAILS: name of the pool that the last attempt ran in."""

BLOCK = "block"
"""In the attribute DETAILS: id of the block that the last attempt ran in."""

WORKER = "worker"
"""In the attribute DETAILS: id of the worker that ran the last attempt."""

BRACKET = "bracket"
"""In the attribute DETAILS: index of the trial's Hyperband bracket; absent with other pruners."""

RUNG = "rung"
"""In the attribute DETAILS: the step of the last rung that the trial reached; absent unless it was pruned there, or
ended paused."""

LAST_LOSS = "last_loss"
"""In the attribute DETAILS: why an attempt was last lost with its worker or block; absent if none was."""

LAST_CRASH = "last_crash"
"""In the attribute DETAILS: why an attempt last crashed and was repeated; absent if none was."""

DETAIL_KEYS = (POOL, BLOCK, WORKER, BRACKET, RUNG, LAST_LOSS, LAST_CRASH)
"""All keys of the attribute DETAILS."""


class HasAttributes(Protocol):
    """A trial of Optuna's."""

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """Its user attributes."""

    @property
    def system_attrs(self) -> Mapping[str, Any]:
        """Its system attributes."""


def has_begun(system_attrs: Mapping[str, Any]) -> bool:
    """Whether a worker may have begun a trial that a campaign has asked for.

    >>> has_begun({ATTEMPT: 1}), has_begun({ATTEMPT: 1, NOT_BEGUN: 1}), has_begun({ATTEMPT: 2, NOT_BEGUN: 1})
    (True, False, True)
    """
    return bool(system_attrs.get(ATTEMPT) != system_attrs.get(NOT_BEGUN, 0))


def details_of(trial: HasAttributes) -> dict[str, Any]:
    """The technical notes of a trial by the keys above, wherever the version that wrote them put them.

    >>> import optuna
    >>> details_of(optuna.create_trial(value=1.0, system_attrs={"pilotune:details": {"pool": "gpu"}}))
    {'pool': 'gpu'}
    >>> details_of(optuna.create_trial(value=1.0, user_attrs={"pilotune:pool": "gpu"}))  # as earlier versions wrote it
    {'pool': 'gpu'}
    """
    found = trial.system_attrs.get(DETAILS)
    if isinstance(found, dict):
        return found
    user = trial.user_attrs
    return {key: user[PREFIX + key] for key in DETAIL_KEYS if PREFIX + key in user}


def traceback_of(trial: HasAttributes) -> str:
    """The traceback of a failed trial; empty if none was recorded.

    >>> import optuna
    >>> traceback_of(optuna.create_trial(state=optuna.trial.TrialState.FAIL))
    ''
    """
    return str(trial.system_attrs.get(TRACEBACK) or trial.user_attrs.get(TRACEBACK) or "")
