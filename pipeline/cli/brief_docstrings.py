"""Imports matplotlib without the tables of all properties in its docstrings, which take a third of the time.

Nobody reads docstrings in a command. Where matplotlib was imported before, its docstrings stay as they are.
"""

from __future__ import annotations


def import_matplotlib() -> None:
    """Import what draws pictures; do nothing where matplotlib is not installed.

    >>> import_matplotlib()
    """
    try:
        from matplotlib import artist
    except ImportError:  # drawing says so
        return
    made = artist.kwdoc
    artist.kwdoc = _nothing
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    finally:
        artist.kwdoc = made


def _nothing(artist: object) -> str:
    """Stands for the function that writes the table of an artist's properties."""
    return ""
