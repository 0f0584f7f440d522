"""Builds the wheel and the source distribution, installs each in empty environments, and runs the demo's study there.

``python release/check.py [--trials 12] [--dist dist] [--python python3.12 ...]``

For Python 3.11, 3.12 and 3.13, those that this machine has: an environment with nothing but the file to release and its
dependencies runs ``examples/digits-torch`` from another folder, and then ``pilotune verify``. ``make release-check``
calls this, with the Python that has the package ``build``. The exit code is 1 if anything fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
EXTRAS = "torch,examples"
"""What the demo's objective imports."""


class Wrong(Exception):
    """What is to be released is wrong. The message is one sentence."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release-check", description=__doc__.splitlines()[0])
    parser.add_argument("--dist", type=Path, default=REPOSITORY / "dist", help="where the two files go")
    parser.add_argument("--trials", type=int, default=12, help="of the demo's study (default: %(default)s)")
    parser.add_argument("--python", nargs="+", default=list(PYTHONS), help="those that are not there are left out")
    parser.add_argument("--torch", default="torch==2.13.0", help="what is installed as PyTorch")
    options = parser.parse_args()
    pythons = {name: working(name) for name in options.python}
    if not any(pythons.values()):
        print(f"error: none of {', '.join(options.python)} is here", file=sys.stderr)
        return 1
    try:
        files = built(options.dist.resolve())
        for file in files:
            check_contents(file)
        for python in filter(None, pythons.values()):
            for file in files:
                print(f"{Path(python).name}, {file.name}: {check_installed(python, file, options)}", flush=True)
    except (Wrong, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    missing = [name for name, path in pythons.items() if path is None]
    print(f"not checked, since not on this machine: {', '.join(missing)}" if missing else "all of them were checked")
    return 0


def working(name: str) -> str | None:
    """The path of a Python; None where there is none, or only a link of a version manager to one that is missing."""
    path = shutil.which(name)
    if path is None or subprocess.run([path, "-c", ""], capture_output=True).returncode:
        return None
    return path


def built(dist: Path) -> list[Path]:
    """Build both from the files that git knows, so that nothing else gets into them; returns their paths."""
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True)
        for name in filter(None, names.stdout.split("\0")):
            target = Path(folder, "source", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target)
        command = [sys.executable, "-m", "build", "--outdir", str(dist), str(Path(folder, "source"))]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return sorted(dist.glob("pilotune-*"))


def check_contents(file: Path) -> None:
    """Check that a file has what a user needs and no tests. Raises Wrong."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        needed = ["pilotune/__init__.py", "pilotune/py.typed", "pilotune/site-configs/slurm.yaml"]
        needed.append("pilotune/pipeline/cli/templates/study.yaml")
    else:
        with tarfile.open(file) as archive:
            names = [name.split("/", 1)[-1] for name in archive.getnames()]
        needed = ["pyproject.toml", "README.md", "LICENSE", "site-configs/slurm.yaml"]
    if missing := set(needed) - set(names):
        raise Wrong(f"{file.name} lacks {', '.join(sorted(missing))}")
    if tests := [name for name in names if "/tests/" in f"/{name}"]:
        raise Wrong(f"{file.name} holds tests: {tests[0]}")


def check_installed(python: str, file: Path, options: argparse.Namespace) -> str:
    """Install a file in an empty environment and run the demo's study; returns a sentence on it. Raises Wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([python, "-m", "venv", folder / "env"], check=True)
        pip = [folder / "env/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, options.torch, f"{file}[{EXTRAS}]"], check=True)
        shutil.copytree(REPOSITORY / "examples/digits-torch", folder / "demo", ignore=shutil.ignore_patterns("*runs"))
        home = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
        environment = {**{key: os.environ[key] for key in ("PATH", "LANG", "HOME") if key in os.environ}, **home}

        def pilotune(*words: str) -> str:
            command = [folder / "env/bin/pilotune", *words]
            ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            if ended.returncode:
                raise Wrong(f"pilotune {' '.join(words)} ended with {ended.returncode}: {ended.stdout}{ended.stderr}")
            return ended.stdout

        version = pilotune("--version").split()[-1]
        if not file.name.startswith((f"pilotune-{version}-", f"pilotune-{version}.tar")):
            raise Wrong(f"{file.name} says that it is {version}")
        pilotune("run", "demo/study.yaml", "--trials", str(options.trials), "--quiet")
        found: dict[str, Any] = json.loads(pilotune("best", "digits-torch", "--json"))
        (value,) = found["best"][0]["values"].values()
        pilotune("verify", "digits-torch")
        return f"pilotune {version} ran {options.trials} trials of the demo, and the best has {value:.4f}"


if __name__ == "__main__":
    raise SystemExit(main())
