"""Ends what a test process has started if that process is gone, even by SIGKILL.

``watch(command)`` starts a small process in a session of its own. It runs ``command`` once its parent has ended, and is
ended by its caller if there is nothing more to watch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

INTERVAL = 0.5
"""Seconds between two looks for the parent."""


def watch(command: Sequence[object]) -> subprocess.Popen[bytes]:
    """Start the watcher of this process; ``command`` must not need it."""
    words = [str(word) for word in command]
    return subprocess.Popen(
        [sys.executable, "-IS", __file__, str(os.getpid()), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def unwatch(watcher: subprocess.Popen[bytes]) -> None:
    """End a watcher."""
    watcher.kill()
    watcher.wait()


def main(parent: int, command: Sequence[str]) -> None:
    """Wait for the end of the parent, then become the command."""
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
