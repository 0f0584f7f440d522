"""Limits on what others can use up, and a search of the package for anything that runs foreign text."""

from __future__ import annotations

import ast
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pilotune
from pilotune.pipeline.worker.run_attempt import cut_outcome
from pilotune.providers.htex.message_limits import MAX_MESSAGE_BYTES, limit_messages
from pilotune.providers.node.shm_cleanup import find_leaked, remove_leaked
from pilotune.providers.schedulers.commands import run
from pilotune.providers.schedulers.file_limits import many_descriptors, usual_limit

SHOW_LIMIT = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"


@pytest.fixture
def low_limit() -> Iterator[int]:
    """A soft limit of open files below the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    yield hard - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_driver_may_have_as_many_connections_as_the_system_allows(low_limit: int) -> None:
    """What the driver starts gets the old limit: schedulers pass it on to jobs, and select(2) is limited to 1,024."""
    with many_descriptors(), many_descriptors():
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low_limit + 1
        assert run([sys.executable, "-c", SHOW_LIMIT]).out.strip() == str(low_limit)
        inherited = subprocess.run([sys.executable, "-c", SHOW_LIMIT], capture_output=True, text=True).stdout
        assert inherited.strip() == str(low_limit + 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low_limit
    assert usual_limit() is None


def test_no_scheduler_s_command_is_told_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers pass the environment of the submitting command on to jobs, or store it."""
    monkeypatch.setenv("PGPASSWORD", "Tr0ub4dor")
    monkeypatch.setenv("PGUSER", "me")
    said = run(["env"]).out
    assert "PGUSER=me" in said
    assert "Tr0ub4dor" not in said


def test_parsl_s_sockets_take_no_message_without_end(tmp_path: Path) -> None:
    from parsl import curvezmq

    limit_messages()
    limit_messages()
    certificates = curvezmq.create_certificates(tmp_path)
    for context in (curvezmq.ServerContext(certificates), curvezmq.ClientContext(certificates)):
        made = context.socket(6)
        assert made.maxmsgsize == MAX_MESSAGE_BYTES
        made.close()
        context.term()


def test_an_outcome_that_is_too_large_to_travel_is_cut_and_says_so() -> None:
    told = {"values": [1.0], "reason": "", "user_attrs": {"a": "x" * 1000}, "reports": [[1, 2.0]] * 5}
    assert cut_outcome(told, 2000) == told
    cut = cut_outcome(told, 500)
    assert (cut["values"], cut["reports"], cut["user_attrs"]) == ([1.0], told["reports"], {})
    assert "its user attrs were left out, since the outcome takes" in cut["reason"]
    both = cut_outcome({**told, "reports": [[1, 2.0]] * 500}, 500)
    assert (both["reports"], both["values"]) == ([], [1.0])
    assert len(json.dumps(both)) < 500


HOLDER = """
import multiprocessing, os, sys
if __name__ == "__main__":
    os.setsid()
    context = multiprocessing.get_context("spawn")
    manager, queue = context.Manager(), context.Queue()
    print(manager.address, flush=True)
    sys.stdin.read()
"""


def test_only_what_a_process_group_has_is_removed_from_shared_places(tmp_path: Path) -> None:
    (tmp_path / "holder.py").write_text(HOLDER)
    holders = [
        subprocess.Popen([sys.executable, tmp_path / "holder.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        folders = [Path(os.fsdecode(each.stdout.readline().strip())).parent for each in holders]
        first, second = (find_leaked(each.pid) for each in holders)
        assert folders[0] in first
        assert folders[1] in second
        assert len(first) > 1, "its semaphores"
        assert not first & second
        os.killpg(holders[0].pid, 9)
        holders[0].wait()
        remove_leaked(first)
        assert not any(path.exists() for path in first)
        assert all(path.exists() for path in second)
    finally:
        for each in holders:
            if each.poll() is None:
                each.communicate()


# -- code in data -----------------------------------------------------------------------------------------------------

ROOT = Path(pilotune.__file__).parent
ROOMS = ("pipeline", "providers", "objectives", "site-configs")
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CHECKED = (
    "pipeline/expressions.py:",
    "providers/node/tasks.py imports pickle",
    "pipeline/worker/process/messages.py imports pickle",
    "objectives/boosting_classifier.py imports pickle",
    "pipeline/user_code/shipped.py imports pickle",
    "pipeline/api/shipping.py imports cloudpickle",
    "pipeline/architecture/build.py:",
)
"""The module that evaluates constraints, after checking every part of them; the one that speaks Parsl's protocol; the
one by which a worker tells its own fork server what to run; an objective that reads its own checkpoint; and the two by
which a function of a notebook reaches the workers. The last one runs the program of a network, which is made of checked
names and numbers only."""

CALLS = {"eval", "exec", "compile", "load_module"}


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in [*ROOT.glob("*.py"), *(each for room in ROOMS for each in (ROOT / room).rglob("*.py"))]:
        yield path.relative_to(ROOT), ast.walk(ast.parse(path.read_text()))


def test_the_package_itself_loads_no_pickle_evaluates_no_text_and_calls_no_shell() -> None:
    """But for Parsl's protocol and a fork server; SECURITY.md lists where, and who can write there."""
    found, seen = [], 0
    for path, nodes in sources():
        seen += 1
        for node in nodes:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module).partition(".")[0]]
            found += [f"{path} imports {name}" for name in names if name in MODULES]
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if called in CALLS and isinstance(node.func, ast.Name):
                    found.append(f"{path}:{node.lineno} {called}()")
                if called in ("system", "popen", "recv_pyobj", "unsafe_load", "full_load", "mktemp"):
                    found.append(f"{path}:{node.lineno} {called}()")
                shell = [each for each in node.keywords if each.arg == "shell"]
                if shell and called in ("run", "Popen", "call", "check_call", "check_output"):
                    found.append(f"{path}:{node.lineno} shell=")
    assert seen > 150
    assert [each for each in found if not each.startswith(CHECKED)] == []


def test_yaml_is_read_by_safe_loaders_only() -> None:
    for path, nodes in sources():
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
                assert node.attr not in ("load", "load_all", "Loader", "FullLoader", "UnsafeLoader", "CLoader"), path
