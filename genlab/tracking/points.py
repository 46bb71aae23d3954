"""An epoch's report as points of MLflow: legal names, finite values, and step curves of at most 100 points an epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from genlab.tracking.epoch_reports import EpochReport

Point = tuple[str, float, int, int]  # name, value, milliseconds since 1970, step

CURVE = 100  # points of one step curve in one epoch
NAME = 250  # characters


def legal(name: str) -> str:
    """`name` as MLflow takes it: letters, digits, `_ - . : /` and spaces, no empty or relative folder, 250 long."""
    folders = re.sub(r"[^\w\-.:/ ]", "_", name, flags=re.ASCII).split("/")
    return "/".join(folder for folder in folders if folder not in ("", ".", ".."))[:NAME] or "_"


def thin(curve: np.ndarray, limit: int = CURVE) -> np.ndarray:
    """Which points of a curve to show: of equal stretches the lowest and the highest, so that no spike is lost.

    Args:
        curve: float [steps]; non-finite values are never chosen.
        limit: how many points at most, an even number.

    Returns:
        Rising indices, int [<= limit].
    """
    finite = np.flatnonzero(np.isfinite(curve))
    if len(finite) <= limit:
        return finite
    stretches = np.array_split(finite, limit // 2)
    chosen = {int(end) for one in stretches for end in (one[curve[one].argmin()], one[curve[one].argmax()])}
    return np.array(sorted(chosen))


def epoch_points(metrics: Mapping[str, float], time: float, step: int) -> list[Point]:
    """The finite ones of `metrics` at `step`; `time` is in seconds since 1970."""
    return [(legal(k), float(v), int(time * 1000), step) for k, v in metrics.items() if math.isfinite(v)]


def report_points(report: EpochReport) -> list[Point]:
    """Metrics at step = epoch, and `step/<name>` at step = iteration; of several replicas `step/<name>/seed_<seed>`.

    All carry the report's time: so the same report sent again is the same points.
    """
    found = epoch_points(report.metrics(), report.time, report.epoch)
    for seed, replica in zip(report.seeds, report.replicas, strict=True):
        for name, curve in replica.steps.items():
            key = legal(f"step/{name}/seed_{seed}" if len(report.replicas) > 1 else f"step/{name}")
            time = int(report.time * 1000)
            found += [(key, float(curve[i]), time, report.first_step + int(i)) for i in thin(curve)]
    return found
