"""Cobalt's ``qsub``."""

from __future__ import annotations

import optparse
import os
import pwd
import re
import sys
import time
from typing import Any, NoReturn

from ..mom import start_mom
from ..state import Job, Machine, State
from .common import complain, connect, expand, folder_of, leave, minutes, moment

USAGE = """\
%prog --help
Usage: %prog [options] <executable> [<excutable options>]

Refer to man pages for JOBID EXPANSION and SCRIPT JOB DIRECTIVES.

"""

WITH_VALUE = {
    "nodes": ("-n", "--nodecount"),
    "procs": ("--proccount",),
    "project": ("-A", "--project"),
    "cwd": ("--cwd",),
    "queue": ("-q", "--queue"),
    "notify": ("-M", "--notify"),
    "time": ("-t", "--time"),
    "umask": ("-u", "--umask"),
    "prefix": ("-O", "--outputprefix"),
    "err": ("-e", "--error"),
    "out": ("-o", "--output"),
    "input": ("-i", "--inputfile"),
    "debuglog": ("--debuglog",),
    "dependencies": ("--dependencies",),
    "user_list": ("--user_list", "--run_users"),
    "jobname": ("--jobname",),
    "kernel": ("--kernel",),
    "kerneloptions": ("-K", "--kerneloptions"),
    "ion_kernel": ("--ion_kernel",),
    "ion_kerneloptions": ("--ion_kerneloptions",),
    "mode": ("--mode",),
    "geometry": ("--geometry",),
}
FLAGS = {
    "debug": ("-d", "--debug"),
    "verbose": ("-v", "--verbose"),
    "held": ("-h", "--held"),
    "preemptable": ("--preemptable",),
    "run_project": ("--run_project",),
    "disable_preboot": ("--disable_preboot",),
}


def fail(text: str) -> NoReturn:
    complain(text)
    leave(1)


class QueueError(Exception):
    """The queue manager refuses the job."""

    def __str__(self) -> str:
        return f"<Fault 1001: {self.args[0]!r}>"


def check_attrs(option: optparse.Option, name: str, value: str, parser: Any) -> None:
    """Parse ``k=v:k2=v2``; a bare name is true and ``no_name`` false; each may be given once."""
    if parser.values.attrs is not None:
        fail("Multiple --attrs options not supported.  Specify multiple attributes as follows: --attrs FOO=1:BAR=2")
    found = {}
    for item in value.split(":"):
        parts = item.split("=")
        if len(parts) > 2:
            fail(f"Improperly formatted argument to attrs : {item}")
        key, content = parts if len(parts) == 2 else (item[3:], "false") if item.startswith("no_") else (item, "true")
        found[key] = content
    parser.values.attrs = found


def check_env(option: optparse.Option, name: str, value: str, parser: Any) -> None:
    """Parse ``K=V:K2=V2``, with ``\\:`` and ``\\=`` inside values; several ``--env`` are merged."""
    found = dict(parser.values.env or {})
    protected = value.replace("\\:", "\0").replace("\\=", "\1")
    for item in re.split(r":(?=\w+\b=)", protected):
        key, equals, content = item.partition("=")
        if not equals:
            fail(f"Improperly formatted argument to env : {[item]!r}")
        found[key] = content.replace("\0", ":").replace("\1", "=")
    parser.values.env = found


def make_parser() -> optparse.OptionParser:
    parser = optparse.OptionParser(usage=USAGE, prog="qsub", add_help_option=False, version="%prog 1.0.33")
    parser.disable_interspersed_args()
    parser.add_option("--help", action="help")
    for name, words in WITH_VALUE.items():
        parser.add_option(*words, dest=name, type="int" if name in ("nodes", "procs") else "string")
    for name, words in FLAGS.items():
        parser.add_option(*words, dest=name, action="store_true")
    parser.add_option("--attrs", type="string", action="callback", callback=check_attrs, dest="attrs")
    parser.add_option("--env", type="string", action="callback", callback=check_env, dest="env")
    return parser


def directives(path: str) -> list[str]:
    """Words of the script's ``#COBALT`` lines: those right after the first line, up to the first other line."""
    with open(path, errors="surrogateescape") as file:
        if not file.readline().startswith("#!"):
            return []
        words: list[str] = []
        for line in file:
            if not line.startswith("#COBALT ") or len(line) <= len("#COBALT "):
                break
            words += line[len("#COBALT ") :].split()
    return ["--mode", "script", *words] if words else []


def executable(parser: optparse.OptionParser, given: list[str], cwd: str) -> str:
    if not given:
        parser.print_usage()
        fail("No executable or script specified\n")
    command = given[0].replace(" ", "")
    command = command if command.startswith("/") else f"{cwd}/{command}"
    if not os.path.isfile(command):
        fail(f"command {command} not found, or is not a file")
    if not os.access(command, os.X_OK | os.R_OK):
        fail(f"command {command} is not executable")
    return command


def check(options: Any, config: dict[str, Any]) -> None:
    """Values that are checked while the options are read."""
    if options.nodes is not None and not 0 < options.nodes <= config["size"]:
        fail("node count out of realistic range")
    if options.procs is not None and options.procs <= 0:
        fail(f"--proccount is {options.procs} which is greater <= to zero")
    if options.time is not None:
        try:
            minutes(options.time)
        except ValueError:
            fail(f"invalid time specification: {options.time}")
    if options.cwd is not None and not os.path.isdir(options.cwd):
        fail(f"dir '{options.cwd}' is not a directory")
    if (
        options.mode is not None
        and options.mode not in ("script", "interactive", "co", "vn")
        and not re.fullmatch(r"c\d+", options.mode)
    ):
        fail(f"Specifed mode '{options.mode}' not valid, valid modes are\nco\nvn\nscript\ninteractive")


def required(parser: optparse.OptionParser, options: Any) -> None:
    if not any(value for value in vars(options).values()):
        parser.print_usage()
        fail("No required options provided\n")
    if options.time is None:
        fail("'time' not provided")
    if options.nodes is None:
        fail("'nodecount' not provided")


def paths(options: Any, cwd: str) -> dict[str, str]:
    """Paths of output, errors and log; "" where the name comes from the job's number."""
    found = {"out": options.out, "err": options.err, "log": options.debuglog}
    if options.prefix:
        for name, suffix in (("out", "output"), ("err", "error"), ("log", "cobaltlog")):
            found[name] = found[name] or f"{options.prefix}.{suffix}"
    for name, path in found.items():
        full = os.path.join(cwd, path) if path else ""
        if full and not os.path.isdir(folder_of(full)):
            fail(f"directory {full} does not exist")
        found[name] = full
    return found


def admit(state: State, user: str, queue: str, options: Any, wanted: int) -> int:
    """The job's walltime in minutes, if the queue manager accepts it. Raises QueueError."""
    if queue not in state.queues:
        raise QueueError(f"trying to add job to non-existent queue '{queue}'")
    rules, allowed = state.queues[queue], state.config["accounts"]
    if rules.get("state", "running") in ("draining", "dead"):
        raise QueueError(f"The '{queue}' queue is {rules['state']}")
    if allowed is not None and (options.project or "") not in allowed:
        raise QueueError(state.config["account_words"].format(account=options.project or ""))
    longest, shortest = rules.get("max_time"), rules.get("min_time")
    if wanted == 0:
        if longest is None:
            raise QueueError(f"Requested maximum walltime of the '{queue}' queue, which has none")
        wanted = longest
    if longest is not None and wanted > longest:
        raise QueueError(
            f"Walltime greater than the '{queue}' queue max walltime of {longest // 60:02}:{longest % 60:02}:00"
        )
    if shortest is not None and wanted < shortest:
        raise QueueError(
            f"Walltime less than the '{queue}' queue min walltime of {shortest // 60:02}:{shortest % 60:02}:00"
        )
    if rules.get("users") is not None and user not in rules["users"]:
        raise QueueError(f"You are not allowed to submit to the '{queue}' queue")
    mine = [job for job in state.jobs.values() if job.user == user and job.queue == queue]
    if rules.get("max_user") is not None and len(mine) >= rules["max_user"]:
        raise QueueError(f"The limit of {rules['max_user']} jobs per user in the '{queue}' queue has been reached")
    return wanted


def submit(machine: Machine, options: Any, command: str, arguments: list[str], where: dict[str, str]) -> int:
    """Queue the job; return its number. Raises QueueError."""
    user, cwd, wanted = pwd.getpwuid(os.getuid()).pw_name, options.cwd or os.getcwd(), minutes(options.time)
    with machine.change() as state:
        queue = options.queue or state.config["default_queue"]
        queue = state.config["routes"].get(queue, queue)
        wanted = admit(state, user, queue, options, wanted)
        number, state.next = state.next, state.next + 1
        machine.job_folder(number).mkdir(parents=True)
        out, err, journal = (
            expand(where[name], number) or f"{cwd}/{number}.{suffix}"
            for name, suffix in (("out", "output"), ("err", "error"), ("log", "cobaltlog"))
        )
        depend = [int(word) for word in (options.dependencies or "").split(":") if word.isdigit()]
        missing = [str(other) for other in depend if other not in state.jobs]
        if missing:
            complain(f"WARNING: dependencies {':'.join(missing)} do not match jobs currently in the queue")
        cores = max(node["cores"] for node in state.nodes.values())
        script = options.mode == "script" or state.config["system"] in ("cluster", "cray")
        state.jobs[number] = job = Job(
            number=number,
            user=user,
            name=expand(options.jobname or "", number),
            queue=queue,
            account=options.project or "",
            script=command,
            arguments=arguments,
            cwd=cwd,
            environment={name: expand(value, number) for name, value in (options.env or {}).items()},
            out=out,
            err=err,
            walltime=wanted * state.config["minute"],
            chunks=[[cores, 0] for _ in range(options.nodes)],
            submitted=time.time(),
            spread=True,
            exclusive=True,
            held="user" if options.held else "dep" if depend else "",
            depend=[["afterok", other] for other in depend],
            details={
                "minutes": wanted,
                "log": journal,
                "mode": "script" if script else options.mode or "c1",
                "procs": options.procs or options.nodes,
                "attrs": options.attrs or {},
                "umask": options.umask or "022",
                "input": options.input or "",
                "notify": options.notify or "",
                "dependencies": options.dependencies or "",
                "kernel": options.kernel or "default",
                "path": os.environ.get("PATH", ""),
            },
        )
        try:
            with open(journal, "a") as file:
                file.write(f"Jobid: {number}\nqsub {' '.join(sys.argv[1:])}\n")
                file.write(f"{moment(time.time())} submitted with cwd set to: {cwd}\n")
        except OSError as error:
            complain(f"WARNING: failed to create cobalt log file at: {journal}: {error}")
        job.mom = start_mom(machine, job)
    return number


def main(words: list[str]) -> None:
    machine, parser = Machine.here(), make_parser()
    config = machine.read().config
    options, given = parser.parse_args(words)
    check(options, config)
    command = executable(parser, given, options.cwd or os.getcwd())
    more = directives(command)
    if more:
        options, given = parser.parse_args([*more, *words])
        check(options, config)
    required(parser, options)
    where = paths(options, options.cwd or os.getcwd())
    if options.input and not os.path.isfile(os.path.join(options.cwd or os.getcwd(), options.input)):
        fail(f"file {options.input} not found, or is not a file")
    connect(machine.read(), "system")
    if config["system"] == "cluster" and 0 < minutes(options.time) < config["cluster_minimum"]:
        fail("component error: XMLRPC failure <Fault 1004: 'Walltime less than minimum'> in system.validate_job\n")
    queue = options.queue or config["default_queue"]
    for line in config["filter_lines"]:
        complain(line)
    if queue in config["routes"]:
        complain(f'Job routed to queue "{config["routes"][queue]}".')
    try:
        number = submit(machine, options, command, given[1:], where)
    except QueueError as error:
        fail(str(error))
    print(f"{number} {config['id_message']}" if config["id_message"] else number)
