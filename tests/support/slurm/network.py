"""Network namespaces that make four nodes of one machine: each has its own address on a common bridge."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path


class Network:
    """Bridge ``ptlab<index>`` with the head at 10.77.<index>.1 and the nodes from 10.77.<index>.11 on."""

    def __init__(self, index: int, nodes: tuple[str, ...]):
        self.bridge = f"ptlab{index}"
        self.head = f"10.77.{index}.1"
        self.addresses = {node: f"10.77.{index}.{11 + place}" for place, node in enumerate(nodes)}

    def namespace(self, node: str) -> str:
        return f"{self.bridge}-{node}"

    def create(self) -> None:
        links = ["link", "add", self.bridge, "type", "bridge"]
        batch = [links, ["addr", "add", f"{self.head}/24", "dev", self.bridge], ["link", "set", self.bridge, "up"]]
        for node, address in self.addresses.items():
            name = self.namespace(node)
            _ip("netns", "add", name)
            batch.append(["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name])
            batch.append(["link", "set", name, "master", self.bridge, "up"])
            inside = [["addr", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "lo", "up"]]
            _ip_batch(batch)
            _ip_batch([*inside, ["link", "set", "eth0", "up"]], "-n", name)
            batch = []

    def remove(self) -> None:
        """Remove the network, also an incomplete one."""
        for node in self.addresses:
            for command in (["link", "del", self.namespace(node)], ["netns", "del", self.namespace(node)]):
                with suppress(subprocess.CalledProcessError):
                    _ip(*command)
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self.bridge)

    def enter(self, node: str) -> list[str]:
        """The words before a command that let it run on a node: its network and its host name.

        ``ip netns exec`` would do it too, but hides the cgroups.
        """
        inside = f'hostname {node}; exec "$@"'
        return ["nsenter", f"--net=/run/netns/{self.namespace(node)}", "unshare", "--uts", "sh", "-c", inside, "sh"]

    def processes(self) -> list[int]:
        """Process ids of everything that runs on the nodes."""
        inodes = set()
        for node in self.addresses:
            with suppress(OSError):
                inodes.add(os.stat(f"/run/netns/{self.namespace(node)}").st_ino)
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.stat(folder / "ns" / "net").st_ino in inodes:
                    found.append(int(folder.name))
        return found


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _ip_batch(commands: list[list[str]], *options: str) -> None:
    lines = "".join(" ".join(words) + "\n" for words in commands)
    subprocess.run(["ip", *options, "-batch", "-"], input=lines, check=True, capture_output=True, text=True)
