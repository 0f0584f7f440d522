"""``pilotune completion``: print a shell completion script."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
def completion_command(shell: str) -> None:
    """Print the completion script of SHELL: commands, options, files, the names of your studies, and keys of --set.

    \b
    bash:  echo 'eval "$(pilotune completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(pilotune completion zsh)"' >> ~/.zshrc
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "pilotune", "_PILOTUNE_COMPLETE")
    click.echo(without_space(shell, script.source_template) % script.source_vars())


BASH_LINE = "            COMPREPLY+=($value)\n"
ZSH_LINE = "        compadd -U -V unsorted -a completions\n"


def without_space(shell: str, template: str) -> str:
    """Click's script, changed so that the shell adds no space after ``KEY=``."""
    if shell == "bash":
        return template.replace(BASH_LINE, BASH_LINE + "            [[ $value == *= ]] && compopt -o nospace\n")
    keys = """\
        local -a keys=(${(M)completions:#*=})
        completions=(${completions:#*=})
        (( $#keys )) && compadd -S '' -U -V unsorted -a keys
"""
    return template.replace(ZSH_LINE, keys + ZSH_LINE)
