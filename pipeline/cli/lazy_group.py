"""A click group that imports a command's module only when that command is called.

Commands of other packages come from entry points. Finding these means reading the metadata of every installed package
(some 30 ms), so that is done only where it matters: for a name that is not in the table, for the list of commands in
``--help``, and for shell completion.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class LazyGroup(click.Group):
    """A group of commands, given as a table.

    Args:
        table: Command -> (module in ``commands/``, one line of help). The module has the click command as
            ``<name>_command``.
        prefix: Put before that name, for a group inside a group: with ``site_`` the command ``list`` is
            ``site_list_command``.
        plugins: Entry-point group in which other packages offer commands, each a ``click.Command``. A command of the
            table cannot be replaced.
    """

    def __init__(
        self,
        *arguments: Any,
        table: Mapping[str, tuple[str, str]] | None = None,
        prefix: str = "",
        plugins: str = "",
        **options: Any,
    ):
        super().__init__(*arguments, **options)
        self.table, self.prefix, self.plugins = table or {}, prefix, plugins

    @cached_property
    def plugin_commands(self) -> dict[str, EntryPoint]:
        """The commands of other packages, by name; read at the first use."""
        if not self.plugins:
            return {}
        from importlib.metadata import entry_points

        found = sorted(entry_points(group=self.plugins), key=lambda point: point.name)
        return {point.name: point for point in found if point.name not in self.table}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.table, *self.plugin_commands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.table:
            module = importlib.import_module(f".commands.{self.table[name][0]}", __package__)
            command = getattr(module, f"{self.prefix}{name}_command")
        elif name in self.plugin_commands:
            command = load_plugin(self.plugin_commands[name])
        else:
            return None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self.table.items()])
        if self.plugin_commands:  # listed by package, since their modules are not imported for their help
            with formatter.section("Commands of other packages"):
                formatter.write_dl([(name, package_of(point)) for name, point in self.plugin_commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.table and args[0] not in self.plugin_commands:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


def load_plugin(point: EntryPoint) -> click.Command:
    """Import another package's command. Raises UsageError if that fails, or if it is no click command."""
    try:
        command = point.load()
    except Exception as error:
        raise click.UsageError(
            f"the command {point.name!r} of {package_of(point)} cannot be loaded: {error}"
        ) from error
    if not isinstance(command, click.Command):
        raise click.UsageError(f"the command {point.name!r} of {package_of(point)} is not a click command")
    return command


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that an entry point belongs to."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
