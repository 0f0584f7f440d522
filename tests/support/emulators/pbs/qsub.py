"""PBS's ``qsub``."""

from __future__ import annotations

import getopt
import os
import pwd
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from ..mom import start_mom
from ..state import Job, Machine, State
from .common import BAD_VALUE, SYSTEM, Refused, complain, connect, identifier, leave
from .request import Request, admit, parse_list, understand

OPTIONS = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:q:r:R:S:u:v:VW:XzP:"
USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
\t[-C directive_prefix] [-e path] [-f ] [-h] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
\t[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
\t[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
\t[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
\t[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version"""


class Options:
    """The options: from the command line first, then from the script, which does not override them."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.attributes: dict[str, str] = {}

    def take(self, words: list[str]) -> list[str]:
        """Read options; return the words after them. Raises GetoptError and ValueError."""
        values: dict[str, str] = {}
        resources: dict[str, str] = {}
        found, rest = getopt.getopt(words, OPTIONS)
        for option, value in found:
            letter = option[1:]
            if letter == "l":
                try:
                    resources.update(parse_list(value))
                except ValueError:
                    raise ValueError("qsub: illegal -l value") from None
            elif letter == "W":
                for item in value.split(","):
                    name, equals, content = item.strip().partition("=")
                    if not equals:
                        raise ValueError("qsub: illegal -W value")
                    self.attributes.setdefault(name, content)
            elif (letter == "r" and value not in ("y", "n")) or (letter == "c" and value.strip() == "u"):
                raise ValueError(f"qsub: illegal -{letter} value")
            else:
                values[letter] = value
        self.values = {**values, **self.values}
        self.resources = {**resources, **self.resources}
        return rest


def directives(text: str, prefix: str) -> list[str]:
    """The option part of every directive: those before the first line that a shell would execute."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if prefix and line.startswith(prefix):
            option = line[len(prefix) :]
            while option.endswith("\\"):
                option = option[:-1] + next(lines, "")
            found.append(option.strip())
        elif line.strip() and not line.lstrip().startswith(("#", ":")):
            break
    return found


def name_of(options: Options, script: Path | None) -> str:
    name = options.values.get("N")
    if name is None:
        return script.name if script else "STDIN"
    if not re.fullmatch(r"[A-Za-z0-9_+.\-]{1,230}", name) or name[0] in "-+.":
        raise ValueError("qsub: illegal -N value")
    return name


def variables(options: Options, state: State) -> dict[str, str]:
    """The variables that ``-v`` and ``-V`` pass on."""
    sent: dict[str, str] = {}
    if "V" in options.values and state.config["export_all"]:
        sent.update(os.environ)
    items = re.split(r"(?<!\\),", options.values.get("v", "")) if options.values.get("v") else []
    for item in items:
        name, equals, value = item.replace("\\,", ",").partition("=")
        if not equals and name not in os.environ:
            raise ValueError("qsub: cannot send environment with the job")
        sent[name] = value.strip("'\"") if equals else os.environ[name]
    return {name: value for name, value in sent.items() if not name.startswith("PBS_O_")}


def path_of(given: str | None, name: str, number: int, suffix: str, job_name: str) -> str:
    """The path of an output stream; in a folder, the file is named by the job's identifier."""
    if given is None:
        return f"{os.getcwd()}/{job_name}.{'o' if suffix == 'OU' else 'e'}{number}"
    host, colon, path = given.rpartition(":")
    path = os.path.join(os.getcwd(), path if colon and "/" not in host else given)
    return f"{path.rstrip('/')}/{name}.{suffix}" if os.path.isdir(path) else path


def waits_for(options: Options, state: State) -> list[list[Any]]:
    """Pairs of a condition and a job's number, of ``-W depend=afterok:3:4``. Raises Refused."""
    found: list[list[Any]] = []
    for condition, *identifiers in (
        part.split(":") for part in options.attributes.get("depend", "").split(",") if part
    ):
        for identifier_text in identifiers:
            number = identifier_text.partition(".")[0]
            if condition not in ("after", "afterok", "afternotok", "afterany") or not number.isdigit():
                raise Refused(BAD_VALUE, "Illegal attribute or resource value depend")
            found.append([condition, int(number)])
    return found


def spool(machine: Machine, state: State, number: int, text: str) -> str:
    """Save a copy of the script; return its path."""
    folder = machine.job_folder(number)
    folder.mkdir(parents=True)
    spooled = folder / f"{number}.{state.config['server']}.SC"
    spooled.write_text(text, errors="surrogateescape")
    spooled.chmod(0o700)
    return str(spooled)


def submit(machine: Machine, options: Options, request: Request, text: str, job_name: str, words: list[str]) -> str:
    """Queue the job; return its identifier. Raises Refused and ValueError."""
    user = pwd.getpwuid(os.getuid()).pw_name
    with machine.change() as state:
        queue = options.values.get("q", "").partition("@")[0] or state.config["default_queue"]
        account = options.values.get("A", "")
        admit(state, user, queue, account, request)
        depend = waits_for(options, state)
        number, state.next = state.next, state.next + 1
        job = Job(
            number=number,
            user=user,
            name=job_name,
            queue=queue,
            account=account,
            script=spool(machine, state, number, text),
            arguments=[],
            cwd=os.getcwd(),
            environment=variables(options, state),
            out="",
            err="",
            walltime=request.walltime or state.queues[queue].get("default_walltime"),
            chunks=request.chunks,
            submitted=time.time(),
            spread=request.spread,
            exclusive=request.exclusive,
            held="user" if "h" in options.values else "dep" if depend else "",
            depend=depend,
            details=details(options, request, words, state),
        )
        name = identifier(state, job)
        job.out = path_of(options.values.get("o"), name, number, "OU", job_name)
        job.err = path_of(options.values.get("e"), name, number, "ER", job_name)
        if all(other in state.jobs or other in state.statuses for _, other in depend):
            state.jobs[number] = job
            job.mom = start_mom(machine, job)
        # A job that depends on an unknown one is accepted, and is gone at once.
    return name


def details(options: Options, request: Request, words: list[str], state: State) -> dict[str, Any]:
    origin = {
        "PBS_O_HOME": os.environ.get("HOME", "/"),
        **{
            f"PBS_O_{name}": os.environ[name]
            for name in ("LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ")
            if name in os.environ
        },
        "PBS_O_WORKDIR": os.getcwd(),
        "PBS_O_SYSTEM": os.uname().sysname,
        "PBS_O_QUEUE": options.values.get("q") or state.config["default_queue"],
        "PBS_O_HOST": state.config["server"],
    }
    return {
        "origin": origin,
        "join": options.values.get("j", "n"),
        "keep": options.values.get("k", "n"),
        "mail": options.values.get("m", "a"),
        "priority": options.values.get("p", "0"),
        "rerunnable": options.values.get("r", "y") == "y",
        "shell": options.values.get("S", ""),
        "project": options.values.get("P", "_pbs_project_default"),
        "select": request.select,
        "place": request.place,
        "listed": request.listed,
        "processes": request.processes,
        "arguments": words,
    }


def read_script(rest: list[str]) -> tuple[str, Path | None]:
    """The script's text, and its file if it comes from one; exit if there is none."""
    if rest and rest[0] != "-":
        path = Path(rest[0])
        try:
            if not path.is_file():
                path.stat()
                complain("qsub: script not a file")
                leave(1)
            return path.read_text(errors="surrogateescape"), path
        except OSError as error:
            complain(f"qsub: script file:: {error.strerror}")
            leave(1)
    return sys.stdin.read(), None


def refuse(text: str) -> NoReturn:
    """Print what is wrong with the options, and the usage; exit."""
    if text:
        complain(text)
    complain(USAGE)
    leave(2)


def from_command_line(options: Options, words: list[str]) -> list[str]:
    """Take the options of the command line; return the words after them (a script at most)."""
    try:
        rest = options.take(words)
    except getopt.GetoptError as error:
        lacking = "option requires an argument" if "argument" in error.msg else "invalid option"
        refuse(f"qsub: {lacking} -- '{error.opt}'")
    except ValueError as error:
        refuse(str(error))
    return rest if len(rest) <= 1 else refuse("")


def from_script(options: Options, text: str) -> None:
    """Take the options of the script's directives."""
    for directive in directives(text, options.values.get("C", "#PBS")):
        words = shlex.split(directive)
        try:
            if options.take(words):
                raise ValueError
        except (getopt.GetoptError, ValueError):
            complain(f"qsub: directive error: {' '.join(words)} ")
            leave(1)


def main(words: list[str]) -> None:
    machine, options = Machine.here(), Options()
    if words == ["--version"]:
        print(f"pbs_version = {machine.read().config['version']}")
        leave(0)
    given = words[: words.index("--")] if "--" in words else words
    rest = from_command_line(options, given)
    if given is words:
        text, script = read_script(rest)
        from_script(options, text)
    else:
        text, script = f"#!/bin/sh\nexec {shlex.join(words[len(given) + 1 :])}\n", None
    connect("qsub", machine.read(), SYSTEM)
    try:
        name = name_of(options, script)
        print(submit(machine, options, understand(options.resources), text, name, words))
    except Refused as refusal:
        complain(f"qsub: {refusal}")
        leave(refusal.code)
    except ValueError as error:
        refuse(str(error))
