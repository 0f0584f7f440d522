"""A driver with several addresses: a worker finds the right one, whoever listens at the others."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import textwrap
import threading

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec, Report, Started
from pilotune.pipeline.worker.node import channel as channel_module
from pilotune.pipeline.worker.node.channel import CurveChannel, make_keys
from pilotune.pipeline.worker.run_attempt import run_attempt
from pilotune.providers.htex.channel_server import ChannelServer

from ...support.trial_driver import Driver, make_spec

OBJECTIVE = """
    def objective(trial):
        for step in range(3):
            trial.report(1.0, step)
        return 1.0
"""


@pytest.fixture
def objective(tmp_path):
    (tmp_path / "ours.py").write_text(textwrap.dedent(OBJECTIVE))
    return ObjectiveSpec(file=str(tmp_path / "ours.py"), function="objective")


@pytest.fixture
def driver(tmp_path):
    driver = Driver(tmp_path)
    yield driver
    driver.close()


@pytest.fixture
def channel():
    """Opens channels, and closes them at the end."""
    opened = []

    def open_one(address):
        opened.append(CurveChannel(address))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def silent():
    """A stranger that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed():
    """An address at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{unused.getsockname()[1]}"


def among(driver, *urls):
    """The driver's address, after these."""
    return dataclasses.replace(driver.address, url=" ".join([*urls, driver.address.url]))


def elsewhere(driver):
    """The same driver at another address."""
    return driver.address.url.replace("127.0.0.1", "localhost")


def relay_to(bound, url):
    """Listen on a bound socket, and forward one connection to ``url``."""
    bound.listen()
    near, _ = bound.accept()
    far = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    for source, target in ((near, far), (far, near)):
        threading.Thread(target=carry, args=(source, target), daemon=True).start()


def carry(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def test_an_attempt_reaches_its_driver_past_strangers_and_dead_addresses(tmp_path, objective, driver, silent, closed):
    (tmp_path / "other").mkdir()
    other = Driver(tmp_path / "other")  # of another campaign, with keys of its own
    try:
        address = among(driver, silent, closed, other.address.url)
        outcome = run_attempt(make_spec(tmp_path, objective, channel=address))
    finally:
        other.close()
    assert outcome["kind"] == "complete"
    assert [r.step for r in driver.of(Report)] == [0, 1, 2]
    assert len(driver.of(Started)) == 1
    assert other.got == []
    assert channel_module._channel.url == driver.address.url


def test_the_first_address_that_works_is_taken(driver, channel, closed):
    address = dataclasses.replace(driver.address, url=f"{closed} {elsewhere(driver)} {driver.address.url}")
    assert channel(address).url == elsewhere(driver)


def test_a_driver_that_comes_later_is_found_while_the_attempt_runs(tmp_path, objective, driver, closed, monkeypatch):
    monkeypatch.setattr(channel_module, "ANSWER_LIMIT", 0.1)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        address = dataclasses.replace(driver.address, url=f"{closed} tcp://127.0.0.1:{port}")
        chain = threading.Timer(0.5, relay_to, (reserved, driver.address.url))
        chain.start()
        outcome = run_attempt(make_spec(tmp_path, objective, channel=address))
        chain.join()
    assert outcome["kind"] == "complete"
    assert driver.of(Started)
    assert [r.step for r in driver.of(Report)] == [0, 1, 2]


def test_a_driver_at_none_of_its_addresses_is_gone(driver, channel, closed, silent, monkeypatch):
    monkeypatch.setattr(channel_module, "ANSWER_LIMIT", 0.1)
    monkeypatch.setenv("PILOTUNE_DRIVER_TIMEOUT", "0")
    lost = channel(dataclasses.replace(driver.address, url=f"{closed} {silent}"))
    assert lost.receive() == []
    assert (lost.url, lost.gone()) == ("", True)


def test_a_connection_that_is_lost_counts_at_the_address_in_use_alone(driver, channel, closed, monkeypatch):
    monkeypatch.setenv("PILOTUNE_DRIVER_TIMEOUT", "0")
    used = channel(among(driver, closed))
    used.receive()
    assert not used.gone()
    driver.close()
    while not used.gone():
        used.wait([], 0.1)
        used.receive()


def test_a_server_on_all_interfaces_names_the_addresses_to_try(tmp_path):
    key_file = tmp_path / "key"
    server = ChannelServer(key_file, make_keys(key_file), "*", ["10.0.0.1", "127.0.0.1"])
    try:
        first, second = server.address.url.split()
        port = first.rsplit(":", 1)[1]
        assert (first, second) == (f"tcp://10.0.0.1:{port}", f"tcp://127.0.0.1:{port}")
    finally:
        server.close()
