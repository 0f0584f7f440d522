"""PBS's ``qstat``."""

from __future__ import annotations

import getopt
import sys
from typing import NoReturn

from ..state import Job, Machine, State
from . import display
from .attributes import Attributes, letter, listing
from .common import NO_HISTORY, SYSTEM, UNKNOWN_QUEUE, Refused, complain, find, full_identifier, is_identifier, leave

USAGE = """\
usage:
qstat [-f] [-J] [-p] [-t] [-x] [-E] [-F format] [-D delim] [ job_identifier... | destination... ]
qstat [-a|-i|-r|-H|-T] [-J] [-t] [-u user] [-n] [-s] [-G|-M] [-1] [-w]
\t[ job_identifier... | destination... ]
qstat -Q [-f] [-F format] [-D delim] [ destination... ]
qstat -q [-G|-M] [ destination... ]
qstat -B [-f] [-F format] [-D delim] [ server_name... ]
qstat --version"""


class Query:
    """A call of ``qstat``: its options, the jobs found, and the code of the last error."""

    def __init__(self, words: list[str]):
        try:
            found, self.operands = getopt.getopt(words, "aExfF:D:HiJnpQqrsTtu:wB1GM")
        except getopt.GetoptError as error:
            self.refuse(f"qstat: invalid option -- '{error.opt}'")
        self.options = {option[1:]: value for option, value in found}
        self.full, self.wide = "f" in self.options, "w" in self.options
        self.history = "x" in self.options or "H" in self.options
        self.alternative = bool(set("aiHrTnsu") & self.options.keys())
        self.format = self.options.get("F", "default").lower()
        if self.format not in ("default", "json", "dsv") or (
            self.format != "default" and not self.full and not self.alternative
        ):
            self.refuse("qstat: conflicting options.")
        self.code = 0
        self.jobs: list[tuple[str, Attributes]] = []

    def refuse(self, text: str) -> NoReturn:
        complain(text)
        complain(USAGE)
        leave(2)

    def look_up(self, state: State) -> None:
        """Find the jobs that were asked for; print errors for the others."""
        for operand in self.operands or [""]:
            if is_identifier(operand):
                try:
                    self.jobs.append(listing(state, find(state, operand, history=self.history)))
                except Refused as refusal:
                    hint = ", use -x or -H to obtain historical job information"
                    name, finished = full_identifier(state, operand), str(refusal) == "Job has finished"
                    complain(f"qstat: {name} {refusal}{hint}" if finished else f"qstat: {refusal} {name}")
                    self.code = refusal.code
            elif self.history and not state.config["history"]:
                complain(f"qstat: {Refused(NO_HISTORY)} {operand}")
                self.code = NO_HISTORY
            elif operand and operand not in state.queues:
                complain(f"qstat: Unknown queue {operand}")
                self.code = UNKNOWN_QUEUE
            else:
                self.jobs += [listing(state, job) for job in state.jobs.values() if self.wanted(job, operand)]

    def wanted(self, job: Job, queue: str) -> bool:
        user = self.options.get("u")
        if (queue and job.queue != queue) or (user and job.user not in user.split(",")):
            return False
        if "H" in self.options:
            return job.phase == "ended"
        if "r" in self.options or "i" in self.options:
            return letter(job) in ("RES" if "r" in self.options else "QHW")
        return job.phase != "ended" or self.history

    def show(self, server: str, version: str, first_only: bool) -> None:
        if self.alternative and self.jobs:
            options = [flag in self.options for flag in "ns1"]
            sys.stdout.write(display.alternative(server, self.jobs, self.wide, *options))
        if self.format == "json":
            jobs = [] if self.alternative else self.jobs[:1] if first_only else self.jobs
            print(display.json_text(server, version, jobs))
        elif self.alternative:
            return
        elif self.format == "dsv":
            for job in self.jobs:
                sys.stdout.write(display.separated(*job, self.options.get("D", "|")))
        elif self.full:
            for job in self.jobs:
                sys.stdout.write(display.long_listing(*job, self.wide))
        elif self.jobs:
            print(display.WIDE_TABLE if self.wide else display.TABLE)
            for job in self.jobs:
                print(display.row(*job, self.wide))


def queues(state: State) -> None:
    print("Queue              Max   Tot Ena Str   Que   Run   Hld   Wat   Trn   Ext Type")
    print("---------------- ----- ----- --- --- ----- ----- ----- ----- ----- ----- ----")
    for name, rules in state.queues.items():
        letters = [letter(job) for job in state.jobs.values() if job.queue == name and job.phase != "ended"]
        enabled, started = ("yes" if rules.get(key, True) else " no" for key in ("enabled", "started"))
        counts = " ".join(f"{letters.count(kind):>5}" for kind in "QRHWTE")
        print(f"{name:<16} {0:>5} {len(letters):>5} {enabled} {started} {counts} Exec")


def main(words: list[str]) -> None:
    state = Machine.here().read()
    server, version = state.config["server"], state.config["version"]
    if words == ["--version"]:
        print(f"pbs_version = {version}")
        leave(0)
    query = Query(words)
    if state.config["server_down"]:
        complain("Connection refused")
        for _ in query.operands or [""]:
            complain(f"qstat: cannot connect to server {server} (errno={SYSTEM})")
        if query.format == "json":
            print(display.json_text(server, version, []))
        leave(255)
    if "Q" in query.options or "q" in query.options:
        queues(state)
        leave(0)
    query.look_up(state)
    query.show(server, version, state.config["json_first_only"])
    leave(0 if query.code == NO_HISTORY else query.code)
