"""One picture of a whole sweep: a row a trial, best first, a column an epoch, in each cell what it generated."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genlab.errors import GenlabError
from genlab.report.grids import PAD, can_be_shown, grid
from genlab.tracking.parts import Part
from genlab.tracking.records import Records, TrialRecord, rank

COLUMNS, ROWS, CONFIRMS = 6, 20, 5  # epochs; trials; rows more for trials that confirm
SHOWN = 4  # images along the edge of a cell
CELL, GAP, LABEL, MARGIN = 190, 10, 250, 24  # pixels
HEAD, COLUMN_HEAD, BAND = 64, 30, 30
INK, FAINT, LINE, EMPTY = (28, 32, 38), (112, 118, 128), (226, 229, 234), (243, 244, 247)
COLORS = {
    "completed": (22, 128, 72),
    "pruned": (176, 112, 0),
    "diverged": (190, 40, 40),
    "failed": (190, 40, 40),
    None: (60, 100, 170),
}
BETTER = {"min": "lower is better", "max": "higher is better"}


def contact_sheet(records: Records, key: str = "samples") -> Image.Image:
    """What every trial of a sweep showed as it trained.

    At most 20 trials and 6 epochs, spread evenly and the last among them; what is left out is said. Of several
    replicas the first is shown. A cell whose part is damaged, or has no such images, says so.

    Args:
        records: the sweep's.
        key: which images, such as `samples` or `reconstructions`.

    Returns:
        An RGB image; the same records give the same pixels.
    """
    mode = str(records.manifest.get("mode", "min"))
    searched = rank([trial for trial in records.trials.values() if not trial.confirms], mode)
    confirms = rank([trial for trial in records.trials.values() if trial.confirms], mode)
    sections = [("", searched[:ROWS])]
    if confirms:
        sections.append(("trained again on fresh seeds", confirms[:CONFIRMS]))
    shown = [trial for _, trials in sections for trial in trials]
    columns = spread(max((trial.last.epoch for trial in shown if trial.last), default=0))
    differing = differences(searched)
    height = (
        HEAD
        + COLUMN_HEAD
        + MARGIN
        + sum(len(trials) * (CELL + GAP) + (BAND if title else 0) for title, trials in sections)
    )
    width = MARGIN + LABEL + max(2, len(columns)) * (CELL + GAP) + MARGIN - GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    _header(pen, records, len(searched), len(searched[:ROWS]), width)
    for i, epoch in enumerate(columns):
        x = MARGIN + LABEL + i * (CELL + GAP)
        pen.text((x + CELL / 2, HEAD + COLUMN_HEAD / 2), f"epoch {epoch}", INK, _font(15), anchor="mm")
    y = HEAD + COLUMN_HEAD
    for title, trials in sections:
        if title:
            pen.text((MARGIN, y + BAND / 2), title, INK, _font(15), anchor="lm")
            y += BAND
        for place, trial in enumerate(trials, 1):
            pen.line([(MARGIN, y - GAP / 2), (width - MARGIN, y - GAP / 2)], LINE)
            parts = _Parts(records, trial)
            _label(pen, y, place, trial, parts, records, differing)
            _cells(sheet, pen, y, trial, parts, columns, key)
            y += CELL + GAP
    if not shown:
        pen.text((MARGIN, y), "No trial has begun.", FAINT, _font(15))
    return sheet


def spread(last: int, most: int = COLUMNS) -> list[int]:
    """At most `most` epochs from 1 to `last`, evenly chosen, both ends among them."""
    return sorted({round(epoch) for epoch in np.linspace(1, last, min(most, last))}) if last else []


def differences(trials: Sequence[TrialRecord]) -> list[str]:
    """The settings that are not the same in all trials, in the order in which they were named."""
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    return [name for name in names if len({repr(trial.settings.get(name)) for trial in trials}) > 1]


class _Parts:
    """The parts of one trial, read when asked for; a damaged one is its error."""

    def __init__(self, records: Records, trial: TrialRecord) -> None:
        self._storage, self._trial = records.storage, trial
        self._read: dict[int, Part | GenlabError] = {}

    def __getitem__(self, epoch: int) -> Part | GenlabError:
        if epoch not in self._read:
            name = self._trial.epochs[epoch].part
            try:
                self._read[epoch] = Part.decode(self._storage.read_named(name), name.path)
            except GenlabError as error:
                self._read[epoch] = error
        return self._read[epoch]


def _header(pen: ImageDraw.ImageDraw, records: Records, trials: int, shown: int, width: int) -> None:
    pen.text((MARGIN, 16), records.name, INK, _font(24))
    metric, mode = records.manifest.get("metric", "objective"), str(records.manifest.get("mode", "min"))
    words = [f"{metric}, {BETTER.get(mode, mode)}", f"{trials} trial{'s' * (trials != 1)}, best first"]
    if shown < trials:
        words.append(f"the last {trials - shown} are left out")
    pen.text((MARGIN, 48), "  ·  ".join(words), FAINT, _font(14))
    pen.line([(MARGIN, HEAD + COLUMN_HEAD - GAP / 2), (width - MARGIN, HEAD + COLUMN_HEAD - GAP / 2)], LINE)


def _label(
    pen: ImageDraw.ImageDraw,
    y: int,
    place: int,
    trial: TrialRecord,
    parts: _Parts,
    records: Records,
    differing: Sequence[str],
) -> None:
    """Left of a row: place and name, objective, how it ended, and the settings that make it another trial."""
    color, metric = COLORS.get(trial.ends, INK), str(records.manifest.get("metric", "objective"))
    pen.rectangle([(MARGIN, y), (MARGIN + 3, y + CELL - 1)], color)
    x = MARGIN + 14
    pen.text((x, y), _fit(pen, f"{place}.  {trial.name}", 17), INK, _font(17))
    value = "no objective" if trial.objective is None else f"{trial.objective:.5g}"
    last = parts[trial.last.epoch] if trial.last and trial.objective is not None else None
    if isinstance(last, Part) and f"{metric}/std" in (metrics := last.metrics()):
        value += f" ± {metrics[f'{metric}/std']:.2g}"
    pen.text((x, y + 24), _fit(pen, value, 20), INK, _font(20))
    ended = trial.ends or "unfinished"
    if trial.last:
        ended += f" after epoch {trial.last.epoch}"
    pen.text((x, y + 52), _fit(pen, ended, 14), color, _font(14))
    names = list(trial.settings) if trial.confirms else differing
    names = [name for name in names if name in trial.settings]
    room = 7 if len(names) <= 7 else 6
    column = max((pen.textlength(name, _font(13)) for name in names[:room]), default=0.0) + 8
    for i, name in enumerate(names[:room]):
        pen.text((x, y + 76 + i * 16), _fit(pen, name, 13), FAINT, _font(13))
        value = _fit(pen, _value(trial.settings[name]), 13, column)
        pen.text((x + column, y + 76 + i * 16), value, INK, _font(13))
    if len(names) > room:
        pen.text((x, y + 76 + room * 16), f"and {len(names) - room} more", FAINT, _font(13))


def _cells(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    y: int,
    trial: TrialRecord,
    parts: _Parts,
    columns: Sequence[int],
    key: str,
) -> None:
    """A row. The last epoch of a trial that ended between two columns stands in the later one, and says so."""
    last, told = trial.last.epoch if trial.last else 0, False
    for i, column in enumerate(columns):
        x = MARGIN + LABEL + i * (CELL + GAP)
        between = (columns[i - 1] if i else 0) < last < column
        epoch = last if between else column
        if epoch in trial.epochs:
            images = _images(parts[epoch], key)
            if isinstance(images, str):
                _empty(pen, x, y, images)
            else:
                sheet.paste(_cell(images), (x, y))
            if between:
                _flag(pen, x, y + CELL - 31, f"epoch {epoch}")
        elif not told:
            told = True
            _empty(pen, x, y, _why(trial))


def _images(part: Part | GenlabError, key: str) -> np.ndarray | str:
    """The first replica's images, uint8 [N, H, W, C], or why there are none."""
    if isinstance(part, GenlabError):
        return "The part of this epoch is damaged or missing."
    images = part.replicas[0].images.get(key) if part.replicas else None
    if images is None or not images.size:
        return f"No images {key!r} in this epoch."
    if not can_be_shown(images):
        return f"The images {key!r} have an unknown shape."
    return images


def _why(trial: TrialRecord) -> str:
    if trial.error is not None:
        lines = [line.strip() for line in trial.error.splitlines() if line.strip()]
        return f"Failed: {lines[-1] if lines else 'unknown error'}"
    texts = {"pruned": "Stopped early by the scheduler.", "diverged": "Diverged: a loss was no longer finite."}
    return texts.get(trial.ends or "", "Ended before this epoch." if trial.ends else "Not trained yet.")


def _cell(images: np.ndarray) -> Image.Image:
    """The first images [N, H, W, C] as a square of CELL pixels."""
    columns = min(SHOWN, math.ceil(math.sqrt(len(images))))
    images = images[: columns * columns]
    _, height, width, channels = images.shape
    edge = (CELL - PAD) // columns - PAD
    scale = edge / max(height, width)
    if scale >= 2:
        scale = math.floor(scale)  # whole pixels stay sharp
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BICUBIC
    colored = np.repeat(images, 3, axis=-1) if channels == 1 else images[..., :3]
    resized = np.stack([np.asarray(Image.fromarray(image).resize(size, method)) for image in colored])
    whole = Image.fromarray(grid(resized, columns))
    cell = Image.new("RGB", (CELL, CELL), "white")
    cell.paste(whole, ((CELL - whole.width) // 2, (CELL - whole.height) // 2))
    return cell


def _empty(pen: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    pen.rectangle([(x, y), (x + CELL - 1, y + CELL - 1)], EMPTY)
    lines = textwrap.wrap(text, 24)[:6]
    pen.multiline_text((x + CELL / 2, y + CELL / 2), "\n".join(lines), FAINT, _font(13), anchor="mm", align="center")


def _flag(pen: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    left, top, right, bottom = pen.textbbox((x + 8, y + 8), text, _font(13))
    pen.rectangle([(left - 5, top - 4), (right + 5, bottom + 4)], INK)
    pen.text((x + 8, y + 8), text, "white", _font(13))


def _fit(pen: ImageDraw.ImageDraw, text: str, size: int, used: float = 0.0) -> str:
    """`text`, cut where the label has no room for it beside the pixels that are used."""
    room = LABEL - 14 - GAP - used
    if pen.textlength(text, _font(size)) <= room:
        return text
    while text and pen.textlength(text + "…", _font(size)) > room:
        text = text[:-1]
    return text + "…"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
