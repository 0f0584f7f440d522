"""Every ``pilotune:*`` key in the database, once: attributes of studies and trials that Pilotune writes for itself.

The database has Optuna's plain schema, so these keys sit beside those of Optuna and of the user. *System attributes*
steer the campaigns; *user attributes* are notes for people and show up in Optuna's dashboard. Numbers of seconds are
rounded to milliseconds. This module imports nothing, so that every room may import it.
"""

from __future__ import annotations

PREFIX = "pilotune:"
"""How all keys of this module begin. An objective's own attributes must not, so they are left out of its outcome."""

# -- of a study -------------------------------------------------------------------------------------------------------

DEFINITION = "pilotune:study"
"""Study user attribute: the space, the directions and the metrics that the study was created with.

Written by ``open_study`` when it creates a study, and compared with the study file whenever the study is opened."""

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

# -- of a trial, for the campaigns ------------------------------------------------------------------------------------

OWNER = "pilotune:campaign"
"""Trial system attribute: id of the campaign that runs the trial.

Written by ``RecordStorage`` when the trial is created or started, and by a campaign that takes the trial over."""

ATTEMPT = "pilotune:attempt"
"""Trial system attribute: number of the latest attempt, counted from 1. Reports of earlier attempts are refused.

Written by ``CampaignStudy.fence`` before an attempt is submitted."""

LEFT = "pilotune:left"
"""Trial system attribute of a trial that was taken over: ``{"campaign": ..., "attempt": ..., "directory": ...}`` of
its latest attempt. Written by ``orphans``, so that a second takeover still finds the files of the first campaign."""

# -- of a trial, for people -------------------------------------------------------------------------------------------

LEARNED = "pilotune:from"
"""Trial user attribute: ``STUDY#NUMBER`` that the trial was copied from. Such a trial does not count for the budget.

Written by ``learn_from``."""

PAUSED = "pilotune:paused"
"""Trial user attribute: the step of the rung at which the trial is paused or about to be (pruner ``mode: promote``).

Null once the trial goes on. Written by the campaign when the trial reaches the rung."""

KILLED = "pilotune:killed"
"""Trial user attribute: host name -> how the trial killed its process or its worker there, as a phrase.

Written by the campaign after such a crash; a trial that did it on two hosts is not tried again."""

BRACKET = "pilotune:bracket"
"""Trial user attribute: index of the trial's Hyperband bracket; absent with other pruners. Written when it starts."""

RUNG = "pilotune:rung"
"""Trial user attribute: the step of the last rung that the trial reached. Written when it pauses or is pruned there."""

LAST_LOSS = "pilotune:last_loss"
"""Trial user attribute: why the latest attempt was lost with its worker or block. Written when the trial is retried."""

LAST_CRASH = "pilotune:last_crash"
"""Trial user attribute: why the latest attempt crashed. Written when the trial is retried."""

REASON = "pilotune:reason"
"""Trial user attribute: why the trial failed, as one sentence. Written at its end."""

TRACEBACK = "pilotune:traceback"
"""Trial user attribute: the objective's traceback. Written when an attempt fails."""

ATTEMPTS = "pilotune:attempts"
"""Trial user attribute: number of attempts in all. Written at the trial's end, as are those that follow."""

EXIT = "pilotune:exit"
"""Trial user attribute: how the trial ended, in a word: ``complete``, ``pruned``, ``exception``, ``timeout``, ..."""

HOST = "pilotune:host"
"""Trial user attribute: name of the host that the last attempt ran on."""

POOL = "pilotune:pool"
"""Trial user attribute: name of the pool that the last attempt ran in."""

BLOCK = "pilotune:block"
"""Trial user attribute: id of the block that the last attempt ran in."""

WORKER = "pilotune:worker"
"""Trial user attribute: id of the worker that ran the last attempt."""

SECONDS_WAITING = "pilotune:seconds_waiting"
"""Trial user attribute: seconds that the trial waited for a worker, over all attempts."""

SECONDS_RUNNING = "pilotune:seconds_running"
"""Trial user attribute: seconds that the trial ran, over all attempts."""

DIRECTORY = "pilotune:directory"
"""Trial user attribute: path of the trial's directory."""
