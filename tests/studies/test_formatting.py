"""Texts for the terminal."""

from __future__ import annotations

from pilotune.pipeline.studies.formatting import WIDEST_NAME, pairs


def test_a_very_long_name_does_not_indent_all_values() -> None:
    long = "p" * 200
    assert pairs([("x", "1"), ("layers", "2"), (long, "3")]) == f"x       1\nlayers  2\n{long}  3"
    assert pairs([("x", "1"), ("p" * WIDEST_NAME, "2")]).splitlines()[0] == "x".ljust(WIDEST_NAME) + "  1"
