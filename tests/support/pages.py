"""Runs a page of the documentation as its reader would: writes its files, and runs its commands in their order."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .local import PATIENCE, Here

DOCS = Path(__file__).resolve().parents[2] / "docs"

FENCE = re.compile(r"(?:^`(?P<name>[\w./-]+)`:\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(page: str, here: Here, changes: Mapping[str, str] | None = None) -> str:
    """Run a page's commands (blocks of ``sh``) in a user's folder, after its files before them were written.

    A block of another language without a file's name is only for reading. Each command has to succeed.

    Args:
        page: Its path below ``docs/``.
        here: The user's folder.
        changes: What stands in files of the page -> what is written instead, for what differs between machines.

    Returns:
        What the commands printed.
    """
    printed = []
    for block in FENCE.finditer((DOCS / page).read_text(encoding="utf-8")):
        text = block["text"]
        if block["name"]:
            for old, new in (changes or {}).items():
                text = text.replace(old, new)
            here.write(block["name"], text)
        elif block["language"] == "sh":
            printed.append(_run(text, here))
    assert printed, f"{page} has no commands"
    return "".join(printed)


def _run(commands: str, here: Here) -> str:
    path = f"{Path(sys.executable).parent}:{here.environment['PATH']}"
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=here.folder,
        env={**here.environment, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, f"{commands}\nended with {ended.returncode}:\n{ended.stdout}"
    return f"$ {commands}\n{ended.stdout}"
