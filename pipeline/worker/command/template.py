"""Fills a command's template: fields in braces, argument by argument, without letting the shell interpret values."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .shell_quoting import Shell, harmless

FIELDS = {
    "number": "the trial's number",
    "attempt": "which execution of the trial this is, from 1",
    "repeat": "which repetition of the trial this is, from 0",
    "seed": "a seed, the same for all attempts of a repetition",
    "study": "the study's name",
    "study_dir": "the study file's folder",
    "work_dir": "the attempt's working directory",
    "checkpoint_dir": "a folder kept across attempts",
    "artifact_dir": "a folder for files that are kept with the trial",
    "params_file": "the parameters as a JSON file",
    "reports_file": "where reports are read from",
    "cores": "cores of the trial, on each node",
    "gpus": "GPUs of the trial, on each node",
    "nodes": "nodes of the trial",
    "ranks": "processes of the trial in all",
    "ranks_per_node": "processes of the trial on each node",
    "launcher": "what starts a command on all nodes of the trial, such as `srun --nodes 2 --ntasks 8`; on one node "
    "that of `trial.launcher`, or the site's PILOTUNE_LAUNCHER, mostly nothing",
}
"""Template fields besides the parameters, each with its description. A parameter of the same name wins."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def split_command(command: str | Sequence[str]) -> list[str]:
    """The arguments of a template that is not for a shell. Raises ValueError for an unclosed quote."""
    return shlex.split(command) if isinstance(command, str) else [str(part) for part in command]


def command_fields(template: str | Sequence[str]) -> set[str]:
    """The names in braces. ``{{`` and ``}}`` are literal braces. Raises ValueError for a single brace.

    >>> sorted(command_fields("python train.py --lr {lr} --seed {seed}"))
    ['lr', 'seed']
    """
    text = template if isinstance(template, str) else "\n".join(map(str, template))
    fields = set()
    for match in _TOKEN.finditer(text):
        if match.group() in ("{", "}"):
            raise ValueError(
                f"a single {match.group()!r} in the command; write {match.group() * 2!r} for the character"
            )
        if match.group(1) is not None:
            fields.add(match.group(1))
    return fields


def check_command(
    command: str | Sequence[str], names: Sequence[str] | None, *, shell: bool = False, reports: str = "file"
) -> str:
    """One sentence about what is wrong with a command or its ``reports``; empty where nothing is.

    Args:
        command: A template, or a list of templates, one an argument.
        names: The space's parameters and constants; None where they are not known, so that no field is an error.
        shell: The command is run by ``/bin/sh``; then it must be a string.
        reports: ``file``, or a regular expression over stdout with a group ``value`` and optionally ``step``.
    """
    try:
        fields = command_fields(command)
        if not shell and not split_command(command):
            return "the command is empty"
    except ValueError as error:
        return f"the command {command!r} cannot be read: {error}"
    if shell and not isinstance(command, str):
        return "a command for a shell is one string, not a list"
    unknown = sorted(fields - set(FIELDS) - set(names or ())) if names is not None else []
    if unknown:
        known = ", ".join([*(names or ()), *FIELDS])
        return f"the command has no value for {{{unknown[0]}}}; known are {known} (and {{{{ for a brace)"
    return _check_reports(reports)


def _check_reports(reports: str) -> str:
    if reports == "file":
        return ""
    try:
        groups = re.compile(reports).groupindex
    except re.error as error:
        return f"the reports' regular expression {reports!r} is not one: {error}"
    if "value" not in groups:
        return f"the reports' regular expression {reports!r} needs a group named value, such as acc=(?P<value>\\S+)"
    more = sorted(set(groups) - {"value", "step"})
    return f"the reports' regular expression has a group {more[0]!r}; only value and step mean anything" if more else ""


def fill(template: str, values: Mapping[str, Any], *, quote: bool = False) -> str:
    """``template`` with its fields replaced by values.

    Args:
        template: The text.
        values: By field name.
        quote: Quote each value as one word for a shell, except ``launcher``, which is several words.

    Raises:
        ValueError: ``values`` lacks a field, or a shell would interpret a value where it stands.

    >>> fill("echo {name}", {"name": "a b"}, quote=True)
    "echo 'a b'"
    """

    exposed = exposed_fields(template) if quote else set()

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group()[0]
        if name not in values:
            raise ValueError(f"the command has no value for {{{name}}}; known are {', '.join(values)}")
        text = as_text(values[name])
        if not quote or name == "launcher":  # the site wrote it, as words for the shell
            return text
        if name in exposed:
            if not harmless(text):
                raise ValueError(exposed_problem(name, text))
            return text
        return shlex.quote(text)

    return _TOKEN.sub(replace, template)


def exposed_fields(template: str) -> set[str]:
    """The fields that stand where a shell would interpret their values even when they are quoted."""
    shell, position, found = Shell(), 0, set()
    for match in _TOKEN.finditer(template):
        shell.read(template[position : match.start()])
        position = match.end()
        name = match.group(1)
        if name is None:
            shell.read(match.group()[0])
            continue
        if shell.exposed:
            found.add(name)
        shell.word()
    return found


def exposed_problem(name: str, text: str) -> str:
    """One sentence about why field ``name`` cannot have the value ``text`` where it stands."""
    shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
    return (
        f"the shell would read {shown} as more than text where {{{name}}} stands in the command; write {{{name}}} "
        "without quotes around it, since each value is quoted as one word, and not in a comment, `...` or $((...))"
    )


def fill_arguments(command: str | Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The arguments to execute. An argument that is just ``{launcher}`` becomes one argument for each of its words."""
    arguments: list[str] = []
    for part in split_command(command):
        if part == "{launcher}" and "launcher" in values:
            arguments += shlex.split(str(values["launcher"]))
        else:
            arguments.append(fill(part, values))
    return arguments


def as_text(value: Any) -> str:
    """A value as text for a command line or the environment: text as it is, empty text for None, else JSON.

    >>> as_text(True), as_text(None), as_text(0.001)
    ('true', '', '0.001')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value)


def variable(name: str) -> str:
    """The environment variable of a parameter; characters that cannot stand in such a name become ``_``.

    >>> variable("optimizer.lr-max")
    'PILOTUNE_PARAM_OPTIMIZER_LR_MAX'
    """
    return "PILOTUNE_PARAM_" + re.sub(r"[^A-Z0-9_]", "_", name.upper())
