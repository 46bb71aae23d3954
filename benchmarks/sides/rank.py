"""A rank of a lane without Ray's calls: the other side of `generative.py` where memory is compared.

python rank.py TASK SETTINGS DATA_ROOT STORAGE    train all epochs; prints this process's peak memory in MiB
"""

from __future__ import annotations

import json
import sys

import ray.train  # noqa: F401 - as in a lane's process
import torch
from sides.memory import peak_mib

from genlab.lanes.worker import LaneSettings, Rank
from genlab.tasks import implementation
from genlab.tasks.registry import config_class


def main(name: str, settings: str, data_root: str, storage: str) -> None:
    """Prepare what the task needs, then train, evaluate and store each epoch as a lane does."""
    kind = config_class(name)
    lane = LaneSettings(
        lane=0,
        mailbox=None,
        code=b"",
        script=None,
        storage=storage,
        folder="sweep",
        data_root=data_root or None,
        environment={},
        threads=torch.get_num_threads(),
        epoch_deadline=3600.0,
    )
    rank = Rank(lane, kind, implementation(kind), 0, 1, "cuda:0" if torch.cuda.is_available() else "cpu", "benchmark")
    config = json.loads(settings)
    prepared = rank.serve({"trial": "prepare", "configs": [config], "script": ""})
    request = {"trial": "0000", "session": "0000", "epoch": config["epochs"], "config": config, "replicas": 1}
    if prepared["kind"] == "ok":
        done = rank.serve({**request, "state": None, "test": False, "prepared": prepared["value"]["files"]})
    else:
        done = prepared
    if done["kind"] != "ok":
        sys.exit(f"{name}: {done['value']}")
    print(peak_mib())


if __name__ == "__main__":
    main(*sys.argv[1:])
