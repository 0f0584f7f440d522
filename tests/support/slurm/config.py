"""The configuration files of the tests' Slurm.

What would make a test wait for minutes is set as low as Slurm allows: the time between SIGTERM and SIGKILL
(``KillWait``), the pause before a requeued job starts again (the lifetime of its credential), the period of the
scheduler. That a time limit is looked at every 30 s is compiled into slurmctld.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CLUSTER = "pilotune"
NODE_CPUS, NODE_MEMORY = 8, 16_000
"""Cores and memory (MB) that a node claims. They exceed those of the machine, so that many waiting jobs fit; jobs whose
cores do not exist are bound to none."""


def slurm_conf(
    folder: Path, *, host: str, head: str, nodes: dict[str, str], gpus: int, port: int, first_job: int,
    cgroups: bool, accounting: bool,
) -> str:  # fmt: skip
    """slurm.conf.

    Args:
        folder: Where everything of this Slurm is.
        host, head: Name and address of the machine that slurmctld runs on.
        nodes: Addresses by name.
        gpus: How many a node has.
        port: The first of three.
        first_job: The first job's number.
        cgroups: Whether jobs are held in cgroups (version 1): their memory and devices are then enforced.
        accounting: Whether slurmdbd keeps accounts.
    """
    settings: dict[str, object] = {
        "ClusterName": CLUSTER,
        "SlurmctldHost": f"{host}({head})",
        "SlurmctldPort": port,
        "SlurmdPort": port + 1,
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        # A requeued job starts again when its old credential is worthless: by default after two minutes.
        "AuthInfo": f"socket={folder}/munge/socket,cred_expire=8",
        "StateSaveLocation": f"{folder}/state",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": f"{folder}/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/slurmd.%n.pid",
        "SlurmctldLogFile": f"{folder}/log/slurmctld",
        "SlurmdLogFile": f"{folder}/log/slurmd.%n",
        "ProctrackType": "proctrack/cgroup" if cgroups else "proctrack/linuxproc",
        "TaskPlugin": "task/cgroup,task/affinity" if cgroups else "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/slurmdbd" if accounting else "accounting_storage/none",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": 1000,
        "GresTypes": "gpu,place",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=0",
        "SlurmdParameters": "config_overrides",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "CANCEL",
        "JobRequeue": 1,
        "ReturnToService": 1,  # 2 would bring a node that a test set down back within seconds
        "EnforcePartLimits": "NO",
        "FirstJobId": first_job,
        "KillWait": 3,
        "MinJobAge": 300,
        "SlurmdTimeout": 30,
        "PropagateResourceLimits": "NONE",
    }
    if accounting:
        settings |= {
            "AccountingStorageHost": head,
            "AccountingStoragePort": port + 2,
            "AccountingStoragePass": f"{folder}/munge/socket",  # munge's socket, for the way to slurmdbd
            "AccountingStorageEnforce": "associations,limits,qos",
        }
    lines = [f"{name}={value}" for name, value in settings.items()]
    hardware = f"CPUs={NODE_CPUS} Boards=1 SocketsPerBoard=1 CoresPerSocket={NODE_CPUS} ThreadsPerCore=1"
    hardware += f" RealMemory={NODE_MEMORY} Gres=gpu:{gpus},place:1"
    lines += [f"NodeName={name} NodeHostname={name} NodeAddr={address} {hardware}" for name, address in nodes.items()]
    lines += [f"PartitionName={name} Nodes=ALL {rest}" for name, rest in PARTITIONS.items()]
    return "\n".join(lines) + "\n"


PARTITIONS = {
    "batch": "Default=YES MaxTime=24:00:00 DefaultTime=10 PriorityTier=10 PreemptMode=OFF OverSubscribe=NO",
    "debug": "MaxTime=5 DefaultTime=1 PriorityTier=10 PreemptMode=OFF OverSubscribe=NO",
    "spare": "MaxTime=60 DefaultTime=5 PriorityTier=1 PreemptMode=CANCEL OverSubscribe=NO",
}
"""Jobs of the other partitions preempt those of ``spare``."""


def gres_conf(nodes: Sequence[str], devices: Sequence[Path]) -> str:
    """gres.conf: GPUs that are only files; one ``place`` on each node, so that jobs that ask for it share no node."""
    gpus = [f"NodeName={node} Name=gpu File={device}\n" for node in nodes for device in devices]
    return "".join([*gpus, *(f"NodeName={node} Name=place Count=1\n" for node in nodes)])


def cgroup_conf(cgroups: bool) -> str:
    """cgroup.conf. It names version 1, since a mounted version 2 may have no controllers."""
    lines = ["CgroupPlugin=cgroup/v1", "CgroupMountpoint=/sys/fs/cgroup"]
    if cgroups:
        # Cores are left to task/affinity: a job on some that do not exist would now and then fail, and drain its node.
        lines += ["ConstrainCores=no", "ConstrainDevices=yes", "ConstrainRAMSpace=yes"]
    return "\n".join(lines) + "\n"


def slurmdbd_conf(folder: Path, *, host: str, head: str, port: int) -> str:
    """slurmdbd.conf: the accounts are in a MariaDB that listens only on a socket in ``folder``."""
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/munge/socket",
        "DbdHost": host,
        "DbdAddr": head,
        "DbdPort": port + 2,
        "SlurmUser": "root",
        "PidFile": f"{folder}/slurmdbd.pid",
        "LogFile": f"{folder}/log/slurmdbd",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm_acct_db",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
