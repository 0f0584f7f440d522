"""Runs every command of an emulated machine: logs the call, and delays it or lets it fail if a test wants that."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path

from .state import ENVIRONMENT, Machine


def call(folder: str, target: str) -> None:
    """Run ``module:function`` with the words of the command line, on the machine in ``folder``."""
    os.environ[ENVIRONMENT] = folder
    machine, began, code = Machine(folder), time.time(), 0
    name, words = Path(sys.argv[0]).name, sys.argv[1:]
    try:
        config = machine.read().config
        time.sleep(config["delay"])
        failure = config["failures"].get(name)
        if failure is not None:
            print(failure.get("err", ""), file=sys.stderr)
            sys.exit(failure.get("code", 1))
        module, _, function = target.partition(":")
        getattr(importlib.import_module(f".{module}", __package__), function)(list(words))
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
        raise
    finally:
        machine.note("commands", command=name, words=words, code=code, seconds=time.time() - began)
