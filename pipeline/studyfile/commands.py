"""Checks of a command's template that need no worker."""

from __future__ import annotations

import shlex
import string
from collections.abc import Sequence

from ...yamlfile import nearest

FIELDS = (
    "number",
    "attempt",
    "seed",
    "params",
    "reports",
    "checkpoint",
    "study_dir",
    "trial_dir",
    "cores",
    "gpus",
    "nodes",
)
"""Fields that a template may name besides the space's parameters and constants."""


def check_template(command: str | list[str], names: Sequence[str], *, shell: bool = False) -> None:
    """Raise ValueError, the end of a sentence, for a template that could not be filled in."""
    if isinstance(command, str) and not shell:
        try:
            shlex.split(command)
        except ValueError as error:
            raise ValueError(
                f"cannot be split into words ({error}); close the quote, or write a list of words"
            ) from None
    known = [*names, *FIELDS]
    for part in [command] if isinstance(command, str) else command:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(part) if field is not None]
        except ValueError as error:
            raise ValueError(
                f"has a brace that is not a field ({error}); write a plain brace twice, {{{{ or }}}}"
            ) from None
        for field in fields:
            if field not in known:
                raise ValueError(f"has the field '{{{field}}}', which is no parameter{nearest(field, known)}")
