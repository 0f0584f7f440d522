"""Runs the tests of record, suggest and studyfile with the lowest versions that pyproject.toml allows.

``python release/lowest_versions.py [--environment build/lowest] [-- PYTEST ARGUMENT ...]``

An environment of its own gets the lowest version of each dependency, and of the packages that these tests take beside
them. ``make test-lowest`` calls this. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("tests/record", "tests/suggest", "tests/studyfile")
EXTRAS = ("forest", "parquet", "torch")
"""Extras of which these tests use packages."""
TESTED_WITH = ("pytest", "pytest-xdist", "hypothesis", "import-linter")
"""Packages of the extra ``test`` that run the tests; their newest versions are taken."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", type=Path, default=REPOSITORY / "build/lowest")
    parser.add_argument("--torch", default="torch==2.13.0", help="what is installed as PyTorch")
    parser.add_argument("arguments", nargs="*", help="for pytest, after --")
    options = parser.parse_args()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in extras[extra])]
    pins = [options.torch if pin.startswith("torch=") else pin for pin in lowest(wanted)]
    tests = [each for each in extras["test"] if name_of(each) in TESTED_WITH]
    python = options.environment / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", options.environment], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *pins, *tests], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", REPOSITORY], check=True)
    print("lowest versions:", ", ".join(pins), flush=True)
    command = [python, "-m", "pytest", "-q", "-m", "not exhaustive", *ROOMS, *options.arguments]
    return subprocess.run(command, cwd=REPOSITORY).returncode


def lowest(requirements: Iterable[str]) -> list[str]:
    """Each requirement with its lower bound as the only version.

    >>> lowest(["psycopg[binary]>=3.2,<4", "optuna>=5.0,<5.1", "numpy>=1.26,<3"])
    ['psycopg[binary]==3.2', 'optuna==5.0', 'numpy==1.26']
    """
    return [re.sub(r">=([\w.]+).*", r"==\1", each) for each in requirements]


def name_of(requirement: str) -> str:
    """The package that a requirement is about.

    >>> name_of("psycopg[binary]>=3.2,<4")
    'psycopg'
    """
    found = re.match(r"[\w.-]+", requirement)
    return found[0] if found else requirement


if __name__ == "__main__":
    raise SystemExit(main())
