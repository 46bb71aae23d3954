"""Ray Tune over the lanes: it decides which trials run and which stop, and tells the run what it decided."""

from __future__ import annotations

import tempfile
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from genlab.lanes.client import unpacked
from genlab.lanes.ray_parts.tune import no_state, one_process
from genlab.lanes.trainable import ClientTrainable
from genlab.sweep.run import Run

CLIENT_FAILURES = 3  # of one trial's client, which holds nothing: another one takes its place


class Notes(tune.Callback):
    """Hears results in the scheduler's order, with its decision, and hands them to the run."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it is given; nothing of that is ever read

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.run.commit(trial.config["trial"], unpacked(result))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        trial.metric_analysis.clear()  # statistics of each number, and its last values: more than all else of a trial
        trial.metric_n_steps.clear()

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        error = f"the trial's client failed {CLIENT_FAILURES + 1} times: {trial.get_error()}"
        self.run.commit(trial.config["trial"], {"kind": "error", "value": error, "epoch": None})


class Stopping(tune.Stopper):
    """Ends all trials once the run is about to end."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.run.stopped()


class Silent(tune.ProgressReporter):
    """Reports nothing: the view does. In a notebook Tune's own takes away what the cell has said before."""

    def should_report(self, trials: Any, done: bool = False) -> bool:
        return False

    def report(self, trials: Any, done: bool, *sys_info: str) -> None:
        pass


def next_trial(controller: Any) -> Any:
    """The trial that a scheduler has Tune start: the first one that waits. Its own way looks through all trials, twice,
    at each of Tune's steps."""
    waiting = [trial for trial in controller.get_live_trials() if trial.status == "PENDING"]
    return min(waiting, key=lambda trial: trial.config["trial"], default=None)


def fit(run: Run, searcher: Any, scheduler: Any, count: int) -> None:
    """Let Tune run `count` trials that `searcher` hands out, as many at once as there are lanes."""
    scheduler = scheduler or FIFOScheduler()
    scheduler.choose_trial_to_run = next_trial
    # a sliver of the head: a client must not wait for a CPU that the lanes hold
    sliver = tune.PlacementGroupFactory([{"node:__internal_head__": 0.0001}])
    client = tune.with_parameters(ClientTrainable, mailbox=run.pool.mailbox)
    with (
        tempfile.TemporaryDirectory(prefix="genlab-tune-", ignore_cleanup_errors=True) as scratch,
        one_process(run.pool.mailbox),
        no_state(),
    ):
        tune.Tuner(
            tune.with_resources(client, sliver),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=count,
                reuse_actors=True,
                max_concurrent_trials=run.pool.lanes,
                trial_dirname_creator=lambda trial: trial.config["trial"],
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                verbose=0,
                progress_reporter=Silent(),
                callbacks=[Notes(run)],
                stop=Stopping(run),
                failure_config=tune.FailureConfig(max_failures=CLIENT_FAILURES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a client has nothing to save
            ),
        ).fit()
