"""A sweep script, for tests that kill its driver: `python toy_script.py TRACE [options]`."""

import sys

import ray.cloudpickle
import toys

from genlab.sweep import Sweep, log_uniform, main


def sweep(trace: str) -> Sweep:
    """Nine short epochs."""
    return Sweep(
        name="toy",
        task=toys.Toy,
        metric="loss",
        space={"lr": log_uniform(1e-4, 1e-1)},
        settings={"epochs": 9, "sleep": 0.02, "trace": trace},
        trials=5,
    )


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(toys)
    trace = sys.argv.pop(1)
    main(sweep(trace))
