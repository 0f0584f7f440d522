"""Cobalt's ``qdel``."""

from __future__ import annotations

import os
import pwd
import time

from ..state import Machine
from .common import complain, connect, leave, log, tabular

USAGE = """\
Usage: qdel --help
Usage: qdel [options] <jobid1> [...<jobidN>]


"""


def main(words: list[str]) -> None:
    machine, user = Machine.here(), pwd.getpwuid(os.getuid()).pw_name
    given = [word for word in words if word not in ("-d", "--debug", "-f", "--force")]
    if not given:
        print(USAGE, end="")
        complain("No Jobid(s) given\n")
        leave(1)
    numbers = []
    for word in given:
        if not word.lstrip("-").isdigit():
            complain(f"jobid must be an integer: {word}")
            leave(1)
        numbers.append(int(word))
    connect(machine.read(), "queue-manager")
    deleted: list[list[str]] = []
    with machine.change() as state:
        for number in sorted(set(numbers)):
            job = state.jobs.get(number)
            if job is None or job.user != user:
                continue
            deleted.append([str(number), job.user])
            if job.phase == "queued":
                log(job, "Info: user delete requested; removing job from the queue")
                state.statuses[number] = None
                del state.jobs[number]
            elif job.order is None:
                job.order = {"why": "deleted", "by": user, "force": False}
        pause = state.config["qdel_sleep"]
    time.sleep(pause)
    if deleted:
        print("      Deleted Jobs")
        print(tabular([["JobID", "User"], *deleted]), end="")
