"""The pictures of the page: what a trial's reports show, as PNG files beside the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evidence.record import portable
from PIL import Image

import genlab
from genlab.grids import grid
from genlab.results import TrialResults

WIDTH = 600  # pixels that a picture of small images is enlarged to, about
GAP = 8  # pixels between the pictures of two epochs, before that


def draw(table: Mapping[str, Any], run: str, folders: Sequence[str], results: Path) -> list[Path]:
    """Write the [[pictures]] of a run: those whose trial is in the sweeps and has come so far.

    Args:
        table: statements.toml. A picture has a `run`, a `where` (both as a side of a statement has them), `images`, a
            key of the trial's reports, and the `epochs` to show, one above the other; if absent, the last.
        folders: of the run's sweeps.
        results: where the pictures go.
    """
    written = []
    trials = [sweep.trial(one) for sweep in map(genlab.open, folders) for one in sweep.records.trials]
    for picture in table.get("pictures", []):
        if picture["run"] != run:
            continue
        wanted = {**table["runs"][run]["base"], **picture.get("where", {})}
        found = [t for t in trials if all(portable(t.config.get(key)) == value for key, value in wanted.items())]
        epochs = picture.get("epochs", [wanted.get("epochs", 1)])
        if not found or not all(epoch in found[0].record.epochs for epoch in epochs):
            continue
        path = results / picture["file"]
        _above_one_another(found[0], picture["images"], epochs).save(path)
        written.append(path)
    return written


def _above_one_another(trial: TrialResults, key: str, epochs: Sequence[int]) -> Image.Image:
    parts: list[np.ndarray] = []
    for epoch in epochs:
        shown = grid(trial.images(key, epoch))
        parts += [np.full((GAP, shown.shape[1], 3), 255, np.uint8), shown] if parts else [shown]
    picture = Image.fromarray(np.concatenate(parts))
    times = max(1, WIDTH // picture.width)
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
