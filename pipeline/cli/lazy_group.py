"""Groups of commands that import a command's module only when the command is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class Commands(click.Group):
    """A group from a table of its commands.

    Args:
        table: Command -> (module here, one line of help). The module's ``<name>_command`` is called.
        prefix: Before that name, in a group inside a group.
    """

    def __init__(
        self, *arguments: Any, table: Mapping[str, tuple[str, str]] | None = None, prefix: str = "", **options: Any
    ):
        super().__init__(*arguments, **options)
        self.table, self.prefix = table or {}, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        import importlib

        module = importlib.import_module(f".commands.{self.table[name][0]}", __package__)
        command = getattr(module, f"{self.prefix}{name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], self.table, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)
