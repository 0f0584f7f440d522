"""What the documentation's site has beside the pages in this folder: pages from elsewhere, and the commands' help.

MkDocs calls the functions below, see https://www.mkdocs.org/user-guide/configuration/#hooks. Pages of the repository
that lie outside of ``docs/`` keep their paths in the site. Links to other files of the repository are shown as names.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parents[1]

ELSEWHERE = ("benchmarks/RESULTS.md", "benchmarks/README.md", "examples/README.md", "SECURITY.md", "CHANGELOG.md")
"""Pages outside of this folder."""

HELP = "help.md"

LINK = re.compile(r"(?<!\!)\[([^\]]*)\]\(([^)#\s:]+)(#[\w-]+)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in this folder."""
    for name in ELSEWHERE:
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    files.append(File.generated(config, HELP, content=help_page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead links that leave this folder to the pages of the site; a link to another file becomes its name."""
    uri = page.file.src_uri
    folder = "." if uri in ELSEWHERE else "docs"

    def led(found: re.Match[str]) -> str:
        text, path, anchor = found[1], found[2], found[3] or ""
        target = posixpath.normpath(posixpath.join(folder, posixpath.dirname(uri), path))
        inside = target.removeprefix("docs/")
        if files.get_file_from_path(inside) is None:
            return text if (REPOSITORY / target).exists() else found[0]
        return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(led, markdown)


def help_page() -> str:
    """The page with the help of every command, as ``--help`` prints it."""
    parts = ["# Every command's help", "What `pilotune COMMAND --help` prints.", ""]
    for name, text in help_texts():
        parts += [f"## {name}", "```text", text, "```", ""]
    return "\n".join(parts)


def help_texts() -> Iterator[tuple[str, str]]:
    """Each command's name with its help, those of groups included."""
    from pilotune.pipeline.cli.main import cli

    yield from _helps(cli, click.Context(cli, info_name="pilotune", max_content_width=100, terminal_width=100))


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _helps(inner, click.Context(inner, info_name=name, parent=context, terminal_width=100))
