"""The output formats of ``qstat`` in OpenPBS 23.06: table, long listing, JSON and delimiter-separated values."""

from __future__ import annotations

import json
import re
import time

from .attributes import Attributes

LINE = 79
TABLE = (
    "Job id            Name             User              Time Use S Queue\n"
    "----------------  ---------------- ----------------  -------- - -----"
)
WIDE_TABLE = (
    "Job id                         Name            User             Time Use S Queue\n"
    "-----------------------------  --------------- ---------------  -------- - ---------------"
)


def value_of(attributes: Attributes, name: str, resource: str = "") -> str:
    return next((value for found, part, value in attributes if (found, part) == (name, resource)), "")


def cut(text: str, width: int, *, strict: bool = False) -> str:
    """Cut a text that is too long, and end it with an asterisk."""
    too_long = len(text) >= width if strict else len(text) > width
    return text[: width - 1] + "*" if too_long else text


def row(name: str, attributes: Attributes, wide: bool) -> str:
    number, _, server = name.partition(".")
    jobs, names, users, queues = (30, 15, 15, 15) if wide else (17, 16, 16, 16)
    used = value_of(attributes, "resources_used", "cput") or "0"
    owner = value_of(attributes, "Job_Owner").partition("@")[0]
    return (
        f"{cut(number + '.' + server.partition('.')[0], jobs):<{jobs}} "
        f"{cut(value_of(attributes, 'Job_Name'), names, strict=True):<{names}} {cut(owner, users):<{users}}  "
        f"{used:>8} {value_of(attributes, 'job_state')} {cut(value_of(attributes, 'queue'), queues):<{queues}}"
    )


def wrapped(label: str, value: str) -> str:
    """An attribute in the long listing: lines are broken at commas, and within words longer than a line."""
    text, start, first = f"    {label} = ", len(label) + 7, True
    tokens = [token for token in value.split(",") if token]
    for place, token in enumerate(tokens):
        if len(token) + start < LINE:
            text += token
            start += len(token)
        else:
            if not first:
                text += "\n\t"
                start = 9
            for letter in token:
                text += letter
                start += 1
                if start > LINE:
                    start = 8
                    text += "\n\t"
        if place + 1 < len(tokens):
            first = False
            text += ","
    return text


def long_listing(name: str, attributes: Attributes, wide: bool) -> str:
    lines = [f"Job Id: {name}"]
    for attribute, resource, value in attributes:
        label = f"{attribute}.{resource}" if resource else attribute
        lines.append(f"    {label} = {value}" if wide else wrapped(label, value))
    return "\n".join(lines) + "\n\n"


def separated(name: str, attributes: Attributes, delimiter: str) -> str:
    parts = [f"Job Id: {name}"]
    for attribute, resource, value in attributes:
        escaped = value.replace("\\", "\\\\").replace(delimiter, "\\" + delimiter).replace("\n", "\\n")
        parts.append(f"{attribute}.{resource}={escaped}" if resource else f"{attribute}={escaped}")
    return delimiter.join(parts) + "\n"


def scalar(value: str) -> str:
    """A JSON value: what C reads as a number is printed unchanged, even if that is no valid JSON."""
    number = r"\s*[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|0x[0-9a-f]+|inf|infinity|nan)\s*"
    return value.strip() if re.fullmatch(number, value, re.IGNORECASE) else json.dumps(value)


def json_job(name: str, attributes: Attributes) -> str:
    """A job: resources of the same attribute, and variables, are nested objects."""
    groups: dict[str, list[str]] = {}
    lines = []
    for attribute, resource, value in attributes:
        if attribute == "Variable_List":
            items = value.replace("\\,", "\0").split(",")
            pairs = [item.replace("\0", ",").partition("=") for item in items]
            groups[attribute] = [f"{json.dumps(key)}:{scalar(content)}" for key, _, content in pairs]
            lines.append(attribute)
        elif resource:
            if attribute not in groups:
                lines.append(attribute)
            groups.setdefault(attribute, []).append(f"{json.dumps(resource)}:{scalar(value)}")
        else:
            lines.append(f"{json.dumps(attribute)}:{scalar(value)}")
    shown = []
    for line in lines:
        if line in groups:
            inner = ",\n".join(" " * 16 + pair for pair in groups[line])
            line = f'"{line}":{{\n{inner}\n            }}'
        shown.append(" " * 12 + line)
    return f'        "{name}":{{\n' + ",\n".join(shown) + "\n        }"


def json_text(server: str, version: str, jobs: list[tuple[str, Attributes]]) -> str:
    """The whole answer; without jobs it has no ``Jobs``."""
    lines = [
        f'    "timestamp":{int(time.time())}',
        f'    "pbs_version":"{version}"',
        f'    "pbs_server":"{server}"',
    ]
    if jobs:
        lines.append('    "Jobs":{\n' + ",\n".join(json_job(*job) for job in jobs) + "\n    }")
    return "{\n" + ",\n".join(lines) + "\n}"


def alternative(
    server: str, jobs: list[tuple[str, Attributes]], wide: bool, nodes: bool, comments: bool, one: bool
) -> str:
    """The listing of ``-a``, ``-u``, ``-n`` and ``-s``."""
    widths = (30, 15, 15, 15, 8, 4, 5) if wide else (15, 8, 8, 10, 6, 3, 3)
    titles = ("Job ID", "Username", "Queue", "Jobname", "SessID", "NDS", "TSK")
    gap = "".join(" " * (width + 1) for width in widths)
    first = f"{gap}Req'd  Req'd   Elap" if wide else " " * 60 + "Req'd  Req'd   Elap"
    heads = " ".join(f"{title:<{width}}" for title, width in zip(titles, widths, strict=True))
    lines = ["", f"{server}: ", first, f"{heads} Memory Time  S Time"]
    lines.append(" ".join("-" * width for width in widths) + " ------ ----- - -----")
    for name, attributes in jobs:
        values = (
            name,
            value_of(attributes, "Job_Owner").partition("@")[0],
            value_of(attributes, "queue"),
            value_of(attributes, "Job_Name"),
            value_of(attributes, "session_id") or " -- ",
            value_of(attributes, "Resource_List", "nodect"),
            value_of(attributes, "Resource_List", "ncpus"),
        )
        cells = [cut(value, width)[:width] for value, width in zip(values, widths, strict=True)]
        left = " ".join(f"{cell:<{width}}" for cell, width in zip(cells[:4], widths[:4], strict=True))
        right = " ".join(f"{cell:>{width}}" for cell, width in zip(cells[4:], widths[4:], strict=True))
        asked = value_of(attributes, "Resource_List", "walltime") or " -- "
        ran = value_of(attributes, "resources_used", "walltime") or " -- "
        line = f"{left} {right} {' -- ':>6} {asked[:5]:>5} {value_of(attributes, 'job_state')} {ran[:5]:>5}"
        hosts = value_of(attributes, "exec_host") or " -- "
        lines.append(f"{line} {hosts}" if one and nodes else line)
        if nodes and not one:
            lines.append(f"   {hosts}")
        if comments:
            lines.append(f"   {value_of(attributes, 'comment') or ' -- '}")
    return "\n".join(lines) + "\n"
