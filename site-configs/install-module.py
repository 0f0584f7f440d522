"""Installs Pilotune for a group, as an environment with a module file for Lmod (``make install-module``).

Under the prefix it creates

    pilotune/<version>/venv/           the environment
    pilotune/<version>/bin/pilotune    the only program that `module load pilotune` puts on PATH
    pilotune/sites/                    site files for all who load the module
    modulefiles/pilotune/<version>.lua

The module file is written last, so that nobody loads an incomplete installation. A second run installs the package
again into the same environment. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_COPIED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "pilotune-runs", "tests")
PLAIN = re.compile(r"[A-Za-z0-9/._+,@=-]+")
"""Characters that a prefix may have: it becomes part of PATH, of the first line of scripts, and of a Lua string."""


class Mistake(Exception):
    """A mistake of the caller. The message is one sentence."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make install-module", description=__doc__.splitlines()[0])
    parser.add_argument("prefix", help="absolute path of a folder that all nodes see")
    parser.add_argument("--extras", default="", metavar="NAMES", help="of pyproject.toml: torch,dashboard,parquet")
    parser.add_argument(
        "--system-site-packages",
        action="store_true",
        help="let the environment see the packages of PYTHON (the site's own PyTorch, say)",
    )
    options = parser.parse_args()
    os.umask(0o022)  # for the whole group to read
    try:
        module = install(checked(options.prefix), options.extras, options.system_site_packages)
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: {Path(error.cmd[0]).name} {' '.join(error.cmd[1:4])} ... failed; see above", file=sys.stderr)
        return 1
    print(f"wrote {module}\n\nmodule use {module.parents[1]}\nmodule load pilotune")
    return 0


def checked(text: str) -> Path:
    """The prefix as a path. Raises Mistake when nothing can be installed there."""
    example = "make install-module PREFIX=/soft/apps"
    if not text:
        raise Mistake(f"PREFIX is missing, as in {example}")
    prefix = Path(os.path.normpath(text))
    if not prefix.is_absolute():
        raise Mistake(f"PREFIX must be absolute, as in {example}, but is {text!r}")
    if not PLAIN.fullmatch(str(prefix)):
        raise Mistake(f"PREFIX must be made of letters, digits and /._+,@=- only, but is {text!r}")
    there = next(folder for folder in [prefix, *prefix.parents] if os.path.lexists(folder))
    if not there.is_dir():
        raise Mistake(f"{there} is not a folder; give another PREFIX")
    return prefix


def install(prefix: Path, extras: str, system_site_packages: bool) -> Path:
    """Create the environment and the module file. Returns the path of the module file."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    root, sites = prefix / "pilotune" / version, prefix / "pilotune" / "sites"
    environment, module = root / "venv", prefix / "modulefiles" / "pilotune" / f"{version}.lua"
    make_folders(root / "bin", sites, module.parent)
    make_environment(environment, system_site_packages)
    install_package(environment / "bin" / "python", f"[{extras}]" if extras else "")
    link(root / "bin" / "pilotune", Path("..") / "venv" / "bin" / "pilotune")
    text = (REPOSITORY / "site-configs" / "modulefile.lua").read_text(encoding="utf-8")
    for name, value in {"version": version, "root": root, "sites": sites}.items():
        text = text.replace(f"@{name}@", str(value))
    part = module.with_name(f".{module.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(module)
    link(module.parent / "default", Path(module.name))
    note_closed_folders(prefix)
    return module


def make_folders(*folders: Path) -> None:
    """Create folders. Raises Mistake when one cannot be created or written to."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise Mistake(f"{folder} cannot be created or written to ({error.strerror}); give another PREFIX") from None


def make_environment(folder: Path, system_site_packages: bool) -> None:
    """Create a virtual environment. An existing one that works is kept."""
    python = folder / "bin" / "python"
    if works(python):
        return
    more = ["--system-site-packages"] if system_site_packages else []
    subprocess.run([sys.executable, "-m", "venv", "--clear", *more, str(folder)], check=True)


def works(python: Path) -> bool:
    """Whether the Python of an environment starts and has pip."""
    try:
        return subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def install_package(python: Path, extras: str) -> None:
    """Install this source tree from a copy: the build writes beside the sources, which may belong to somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pilotune"
        shutil.copytree(REPOSITORY, copy, ignore=NOT_COPIED)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{copy}{extras}"], check=True, cwd=folder)


def link(path: Path, target: Path) -> None:
    """Create or replace a symbolic link atomically."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(path)


def note_closed_folders(prefix: Path) -> None:
    """Print a note if others cannot enter the prefix or reach the Python of the environment."""
    for path in (prefix, Path(sys.executable).resolve().parent):
        closed = [folder for folder in [path, *path.parents] if folder.stat().st_mode & 0o001 == 0]
        if closed:
            print(f"note: others cannot enter {closed[0]}, and so cannot use this installation")


if __name__ == "__main__":
    sys.exit(main())
