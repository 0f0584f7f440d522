"""The first shell lines of a block: modules that load, modules that fail, and a shell without `module`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pilotune.providers.site import load_site

LMOD = Path("/usr/share/lmod/lmod/init/bash")
SITE = (
    "scheduler: slurm\nmodules: [use {folder}, one two, three]\nsetup: echo set up\npools:\n  cpu: {{walltime: 1h}}\n"
)


@pytest.fixture
def block(tmp_path: Path):
    """Run a block's first lines in a bash without start-up files, after the lines ``before`` of its scheduler."""
    (tmp_path / "site.yaml").write_text(SITE.format(folder=tmp_path / "modules"))
    lines = load_site(tmp_path / "site.yaml").worker_init

    def run(before: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
        command = ["bash", "--norc", "--noprofile", "-c", f"{before}\n{lines}\necho workers start"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_modules_are_loaded_in_order_before_the_set_up(block, tmp_path):
    done = block('module() { echo "module $*"; }')
    assert done.stdout.splitlines() == [
        f"module use {tmp_path / 'modules'}",
        "module load one two",
        "module load three",
        "set up",
        "workers start",
    ]
    assert done.returncode == 0


def test_a_module_that_does_not_load_ends_the_block_with_its_own_words(block):
    done = block('module() { [ "$1 $2" != "load three" ] || { echo "no module three here" >&2; return 7; }; }')
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "no module three here\n")


def test_a_shell_that_knows_no_modules_asks_the_systems_profile(block):
    """The block ends if /etc/profile does not define `module` either."""
    done = block("")
    assert done.returncode != 0
    assert "workers start" not in done.stdout
    assert "module" in done.stderr


def test_lmod_loads_what_is_there_and_ends_the_block_at_what_is_not(block, tmp_path):
    if not LMOD.exists() and os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("Lmod is not installed, and this user cannot install it")
    folder = tmp_path / "modules"
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.lua").write_text(f'setenv("HAS_{name.upper()}", "1")\n')
    done = block(f". {LMOD}")
    assert (done.returncode, done.stdout) == (0, "set up\nworkers start\n"), done.stderr
    (folder / "three.lua").unlink()
    done = block(f". {LMOD}")
    assert done.returncode != 0
    assert "workers start" not in done.stdout
    assert "three" in done.stderr
