"""The trivial trial of `trial_overhead.py` in the stock pattern: a Ray Train run of its own inside every Tune trial.

Prints a JSON line for every result that Tune is given: {"trial", "epoch", "time"}.

uv run benchmarks/sides/stock.py --workers 2 --trials 3
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import tyro

FASTEST = "0.1"  # seconds between two looks of Ray Train at its workers: each takes one report, and the default is 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run the trials one after the other."""

    trials: int = 3
    epochs: int = 5
    workers: int = 2


def train(config: dict[str, Any]) -> None:
    """What every worker runs."""
    import ray.train
    import ray.train.torch
    import torch

    torch.set_num_threads(1)
    line = ray.train.torch.prepare_model(torch.nn.Linear(10, 1))
    optimizer = torch.optim.Adam(line.parameters(), lr=config["lr"])
    for _ in range(config["epochs"]):
        for _ in range(2):
            optimizer.zero_grad()
            loss = line(torch.rand(32, 10)).square().mean()
            loss.backward()
            optimizer.step()
        ray.train.report({"loss": loss.item()})


def run(options: Options, storage: str) -> None:
    """The sweep."""
    import ray
    from ray import train as ray_train
    from ray import tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback
    from ray.tune.search.optuna import OptunaSearch

    class Clock(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            told = {"trial": trial.trial_id, "epoch": result["training_iteration"], "time": time.time()}
            print(json.dumps(told), flush=True)

    def trial(config: dict[str, Any]) -> None:
        name = tune.get_context().get_trial_id()
        TorchTrainer(
            train,
            train_loop_config=config,
            scaling_config=ray_train.ScalingConfig(num_workers=options.workers, resources_per_worker={"CPU": 1}),
            run_config=ray_train.RunConfig(
                name=f"train-{name}", storage_path=storage, callbacks=[TuneReportCallback()]
            ),
        ).fit()

    # one CPU more than the workers hold: a trial that waits for theirs would wait for ever
    ray.init(address="local", num_cpus=options.workers + 1, logging_level=logging.ERROR, log_to_driver=False)
    tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        param_space={"lr": tune.loguniform(1e-4, 1e-2), "epochs": options.epochs},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=OptunaSearch(),
            num_samples=options.trials,
            max_concurrent_trials=1,
        ),
        run_config=tune.RunConfig(name="stock", storage_path=storage, callbacks=[Clock()], verbose=0),
    ).fit()
    ray.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", FASTEST)
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory(prefix="genlab-stock-", ignore_cleanup_errors=True) as folder:
        run(tyro.cli(Options), folder)
