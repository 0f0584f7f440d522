"""The rule for names of studies, sites and pools, which become names of files, folders and batch jobs."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
"""A name, to be matched as a whole (``NAME.fullmatch``)."""

NAME_RULE = "1 to 128 letters, digits, '.', '_', '+' or '-', beginning with a letter or digit"
"""The rule in words, for messages."""
