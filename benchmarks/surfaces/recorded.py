"""Surfaces that were recorded by `record.py`: between the points of the grid the curves are interpolated."""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surfaces.surface import Surface

from genlab.sweep import Sweep, choice, log_uniform, uniform

HERE = Path(__file__).resolve().parent


class Recorded:
    """The curves of a file; of a setting between the points, interpolated linearly in each number (or its logarithm).

    Categories must be one of those that were recorded.
    """

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self.epochs = kept["settings"]["epochs"]
        self.logs = [kept["scales"][name] == "log" for name in kept["numbers"]]
        self.axes = {
            name: [math.log(value) if log else value for value in values]
            for (name, values), log in zip(kept["numbers"].items(), self.logs, strict=True)
        }
        self.strides = [math.prod(map(len, list(self.axes.values())[i + 1 :])) for i in range(len(self.axes))]
        self.tables = [(table["choices"], table["curves"]) for table in kept["tables"]]

    def __call__(self, config: Mapping[str, Any]) -> list[float]:
        curves = next(
            curves for choices, curves in self.tables if all(config[name] == value for name, value in choices.items())
        )
        corners = []
        for (name, points), log in zip(self.axes.items(), self.logs, strict=True):
            value = math.log(config[name]) if log else config[name]
            below = min(max(bisect.bisect_right(points, value) - 1, 0), len(points) - 2)
            part = min(max((value - points[below]) / (points[below + 1] - points[below]), 0.0), 1.0)
            corners.append(((below, 1 - part), (below + 1, part)))
        weights = []
        for corner in itertools.product(*corners):
            if (weight := math.prod(part for _, part in corner)) > 0:
                index = sum(i * stride for (i, _), stride in zip(corner, self.strides, strict=True))
                weights.append((weight, curves[index]))
        epochs = min(len(curve) for _, curve in weights)
        return [sum(weight * curve[epoch] for weight, curve in weights) for epoch in range(epochs)]


def load(name: str) -> Surface:
    """The surface in `NAME.json` beside this script."""
    kept = json.loads((HERE / f"{name}.json").read_text())
    space: dict[str, Any] = {}
    for table in kept["tables"]:
        for field, value in table["choices"].items():
            space.setdefault(field, []).append(value)
    space = {field: choice(*dict.fromkeys(values)) for field, values in space.items()}
    for field, values in kept["numbers"].items():
        space[field] = (log_uniform if kept["scales"][field] == "log" else uniform)(values[0], values[-1])
    ends = [
        curve[-1] for table in kept["tables"] for curve in table["curves"] if len(curve) == kept["settings"]["epochs"]
    ]
    return Surface(
        name=name.replace("_", " "),
        sweep=Sweep(
            name=name,
            task=kept["task"],
            metric=kept["metric"],
            mode=kept["mode"],
            settings=kept["settings"],
            space=space,
            conditions=kept["conditions"],
        ),
        curve=Recorded(kept),
        optimum=(min if kept["mode"] == "min" else max)(ends),
        typical=sum(ends) / len(ends),
    )
