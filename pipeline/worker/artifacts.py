"""What becomes of an attempt's artifacts on its worker: those of a complete attempt are listed, others are removed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..trial.artifacts import sizes_in
from ..trial.files import ARTIFACTS, TrialFiles


def drop_earlier(files: TrialFiles, attempt: int) -> None:
    """Remove the artifacts of attempts before this one, which has found no result of theirs.

    An old attempt that still writes finds its folder gone; if it makes it again, nobody counts what is in it.
    """
    with contextlib.suppress(OSError):
        for earlier in files.attempts_with(ARTIFACTS):
            if earlier < attempt:
                drop(files.artifacts(earlier))


def take_over(files: TrialFiles, earlier: int, attempt: int) -> None:
    """Hand the artifacts of an attempt that had ended to a later one, whose result is now that of the earlier."""
    with contextlib.suppress(OSError):  # it has none, or an interrupted try has handed them over already
        files.artifacts(earlier).rename(files.artifacts(attempt))


def ended_with(directory: str, attempt: int, *, complete: bool) -> dict[str, int]:
    """The attempt has ended: list its artifacts, or remove them unless it has completed the trial.

    Args:
        directory: The trial's folder; empty where it is unknown.
        attempt: Which one.
        complete: Whether it has completed the trial.

    Returns:
        Bytes by name.

    Raises:
        OSError: They cannot be listed.
    """
    if not directory:
        return {}
    folder = TrialFiles(Path(directory)).artifacts(attempt)
    if complete:
        return sizes_in(folder)
    drop(folder)
    return {}


def drop(folder: Path) -> None:
    """Remove a folder as far as that is possible; most attempts have none."""
    if folder.is_dir():
        import shutil  # it imports compression libraries, which few attempts need

        shutil.rmtree(folder, ignore_errors=True)
