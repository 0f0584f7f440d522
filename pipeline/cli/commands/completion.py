"""``pilotune completion``: print a shell completion script."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
def completion_command(shell: str) -> None:
    """Print the completion script of SHELL: commands, options, files and the names of your studies.

    \b
    bash:  echo 'eval "$(pilotune completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(pilotune completion zsh)"' >> ~/.zshrc
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "pilotune", "_PILOTUNE_COMPLETE")
    click.echo(script.source_template % script.source_vars())
