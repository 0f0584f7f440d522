"""What a probe finds on a node: limits, devices, files, and the channel to the driver; and free disk space."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune import filesystems
from pilotune.pipeline.trial.protocol import Started, Suggest, Suggested
from pilotune.pipeline.worker.node import channel as channels
from pilotune.pipeline.worker.node.channel import make_keys
from pilotune.providers.check import probe
from pilotune.providers.check.diskspace import DiskSpace, assess, disk_space_finding, read_quota
from pilotune.providers.check.facts import State
from pilotune.providers.htex.channel_server import ChannelServer

GB = 10**9


# -- hardware ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cgroup", "limits", "seen"),
    [
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7/memory.max": str(4 * GB), "memory.max": "max"}, 4 * GB),
        ("0::/slurm/job_7\n", {"slurm/job_7/memory.max": "max"}, 8192 * 1024),
        ("5:memory:/slurm/job_7\n4:cpu:/x\n", {"memory/slurm/job_7/memory.limit_in_bytes": str(2 * GB)}, 2 * GB),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 8192 * 1024),
        ("", {}, 8192 * 1024),
    ],
)
def test_memory_is_the_nodes_or_what_the_scheduler_leaves_of_it(
    tmp_path: Path, cgroup: str, limits: dict[str, str], seen: int
) -> None:
    total = 8192 if seen == 8192 * 1024 else 10**9
    (tmp_path / "meminfo").write_text(f"MemTotal:       {total} kB\nMemFree:  1 kB\n")
    (tmp_path / "cgroup").write_text(cgroup)
    for name, text in limits.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert probe.memory(*(str(tmp_path / name) for name in ("meminfo", "cgroup", "root"))) == seen


def test_memory_that_nobody_tells_is_not_known(tmp_path: Path) -> None:
    assert probe.memory(*(str(tmp_path / name) for name in ("none", "none", "none"))) is None


def test_gpus_are_told_by_the_makes_variable_and_by_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "dri/renderD128", "dri/card0"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    environment = {"CUDA_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "2,3"}
    assert probe.gpus("nvidia", environment, str(tmp_path)) == {
        "variable": "CUDA_VISIBLE_DEVICES",
        "value": "1",
        "devices": ["nvidia0", "nvidia1"],
    }
    assert probe.gpus("amd", environment, str(tmp_path))["devices"] == ["renderD128"]
    assert probe.gpus("intel", environment, str(tmp_path))["value"] is None
    assert probe.gpus("amd", {}, str(tmp_path / "none"))["devices"] == []


def test_a_package_that_is_missing_has_no_version() -> None:
    found = probe.versions(("parsl", "no-such-package"))
    assert found["parsl"].startswith("20")
    assert found["no-such-package"] == ""


# -- files ------------------------------------------------------------------------------------------------------------


def test_markers_are_read_and_left(tmp_path: Path) -> None:
    (tmp_path / "marker").write_text("of the driver")
    found = probe.check_folder(str(tmp_path), "marker", "n1-7")
    assert (found["read"], found["error"]) == ("of the driver", "")
    assert (tmp_path / found["wrote"]).read_text() == found["wrote"]
    assert found["filesystem"]["kind"] == filesystems.filesystem_of(tmp_path).kind


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    found = probe.check_folder(str(tmp_path / "elsewhere"), "marker", "n1-7")
    assert (found["read"], found["wrote"]) == (None, None)
    assert found["error"] == f"{tmp_path}/elsewhere/marker: No such file or directory"


# -- the way to the driver --------------------------------------------------------------------------------------------


@pytest.fixture
def ahead() -> float:
    """Seconds by which the driver's clock is behind the probe's."""
    return 5000.0


@pytest.fixture
def driver(tmp_path: Path, ahead: float) -> Iterator[ChannelServer]:
    """Answers like the driver of a check, with a clock of its own."""
    server = ChannelServer(tmp_path / "keys", make_keys(tmp_path / "keys"))
    over = threading.Event()
    heard: list[Any] = []

    def serve() -> None:
        while not over.is_set():
            server.socket.poll(20)
            for identity, message in server.drain():
                heard.append(message)
                if isinstance(message, Suggest):
                    server.send(identity, Suggested(message.token, message.request, time.time() - ahead))

    thread = threading.Thread(target=serve)
    thread.start()
    yield server
    over.set()
    thread.join()
    server.close()
    assert isinstance(heard[0], Started)


@pytest.fixture(autouse=True)
def own_channel() -> Iterator[None]:
    """A process keeps its channel for all attempts; here each test needs its own."""
    yield
    if channels._channel is not None:
        channels._channel.close()
        channels._channel = None


def test_round_trips_are_timed_and_clocks_compared(driver: ChannelServer, ahead: float) -> None:
    found = probe.measure_channel("a-1", driver.address.url, driver.address.key_file)
    assert (found["url"], found["error"]) == (driver.address.url, "")
    assert len(found["rounds"]) == probe.ROUNDS
    assert min(found["rounds"]) > 0
    assert found["skew"] == pytest.approx(ahead, abs=500)


def test_the_address_that_answers_is_reported(driver: ChannelServer) -> None:
    port = driver.address.url.rpartition(":")[2]
    found = probe.measure_channel("a-1", f"tcp://127.0.0.9:1 tcp://127.0.0.1:{port}", driver.address.key_file)
    assert (found["url"], found["error"]) == (f"tcp://127.0.0.1:{port}", "")


def test_a_missing_driver_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ROUND_LIMIT", 0.2)
    make_keys(tmp_path / "keys")
    found = probe.measure_channel("a-1", "tcp://127.0.0.1:9", str(tmp_path / "keys"))
    assert (found["url"], found["rounds"], found["skew"]) == ("", [], None)
    assert found["error"].startswith("tcp://127.0.0.1:9 does not answer")


def test_unreadable_keys_are_reported(tmp_path: Path) -> None:
    found = probe.measure_channel("a-1", "tcp://127.0.0.1:9", str(tmp_path / "none"))
    assert "No such file or directory" in found["error"]


# -- disk space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("     /lustre/orion 1048576 0 3145728 - 10 0 0 -\n", 2 * 2**30),
        ("/lustre/orion\n      1048576  2097152  3145728  -  10  0  0  -\n", 2**30),
        ("     /lustre/orion 4194304* 0 3145728 7d 10 0 0 -\n", -(2**30)),
        ("     /lustre/orion 1048576 0 0 - 10 0 0 -\n", None),
        (
            "Disk quotas for user me (uid 1000):\n     Filesystem  blocks   quota   limit   grace   files   quota\n"
            "filer:/vol/home  1048576  2097152 4194304             100       0       0\n",
            2**30,
        ),
        ("Disk quotas for user me (uid 1000): none\n", None),
        ("", None),
    ],
)
def test_what_a_quota_leaves_is_read(text: str, left: float | None) -> None:
    assert read_quota(text, {"/lustre/orion", "filer:/vol/home"}) == left


@pytest.mark.parametrize(
    ("space", "state", "words"),
    [
        (DiskSpace(2e12, 10**9), State.OK, "2 TB free"),
        (DiskSpace(2e12, None), State.OK, "2 TB free"),
        (DiskSpace(2e12, 10**9, 50e9), State.OK, "2 TB free, 50 GB left of your quota"),
        (DiskSpace(2e12, 10**9, 1e9), State.WARNING, "1 GB left of your quota: low"),
        (DiskSpace(1e9, 10**9), State.WARNING, "1 GB free: low"),
        (DiskSpace(2e12, 500), State.WARNING, "500 more files: low"),
        (DiskSpace(0, 10**9), State.FAILED, "nothing can be written"),
        (DiskSpace(2e12, 10**9, -1e9), State.FAILED, "0 GB left of your quota: nothing can be written"),
        (DiskSpace(2e12, 0), State.FAILED, "0 more files: nothing can be written"),
    ],
)
def test_low_disk_space_is_warned_about(space: DiskSpace, state: State, words: str) -> None:
    found, text = assess(space)
    assert found == state
    assert words in text


def test_a_folder_here_has_space_on_a_named_file_system(tmp_path: Path) -> None:
    found = disk_space_finding(tmp_path)
    assert found.name == "space"
    assert f" on {filesystems.filesystem_of(tmp_path).name} (" in found.text
