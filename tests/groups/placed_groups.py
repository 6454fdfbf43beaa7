"""Start a group of each kind on a running cluster, for test_placement.py.

python placed_groups.py ADDRESS SETTINGS: SETTINGS is a JSON list of ``group`` sections; prints a
JSON list with, for each, the node of every worker, the addresses at which they reach each other,
and what their environment says of interfaces.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import ray

from droplora_sweep.groups.manager import GroupManager
from droplora_sweep.groups.pool import start_pool
from droplora_sweep.spec import SweepSpec

if TYPE_CHECKING:
    from ray.actor import ActorHandle

WAIT_S = 300.0


def start(number: int, group: dict[str, Any], scratch: Path) -> ActorHandle[Any]:
    """Start a group, and return the pool that it enters."""
    sweep = SweepSpec.model_validate({"name": "placed", "group": group})
    name = f"placed{number}"
    pool = start_pool(name, sweep.group)
    manager = GroupManager(sweep=sweep, pool=pool, pool_name=name, scratch=scratch / name)
    # It ends with the cluster.
    manager.__enter__()
    return pool


def look_at(pool: ActorHandle[Any]) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while not (workers := ray.get(pool.workers.remote("g0"))):
        assert time.monotonic() < deadline, f"no group within {WAIT_S:g} s"
        time.sleep(0.2)
    processes = [psutil.Process(worker.pid) for worker in workers]
    ends = [
        {(one.laddr, one.raddr) for one in process.net_connections("tcp") if one.raddr}
        for process in processes
    ]
    shared = {mine for mine, other in ends[0] if (other, mine) in ends[1]}
    return {
        "nodes": [worker.node for worker in workers],
        "addresses": sorted({address.ip for address in shared}),
        "environment": [
            {k: v for k, v in process.environ().items() if k.endswith("_SOCKET_IFNAME")}
            for process in processes
        ],
    }


def main(address: str, settings: list[dict[str, Any]]) -> None:
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    scratch = Path(tempfile.mkdtemp())
    try:
        pools = [start(number, one, scratch) for number, one in enumerate(settings)]
        print(json.dumps([look_at(pool) for pool in pools]), flush=True)  # noqa: T201
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
