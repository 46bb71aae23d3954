"""One picture of a whole sweep: a row a trial, best first, a column an epoch, in each cell its images."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genlab.errors import GenlabError, last_line, nearest
from genlab.grids import PAD, can_be_shown, grid
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import Records, TrialRecord, rank

COLUMNS, ROWS, CONFIRMS = 6, 20, 5  # epochs; trials; rows more for trials that confirm
SETTINGS = 8  # lines of them in a label
SHOWN = 4  # images along the edge of a cell, of a set [N, H, W, C]
PREFERRED = "samples"  # the key that is shown where none is asked for
TEST = "test/"  # keys that begin so are shown only where they are asked for
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


def contact_sheet(records: Records, key: str | None = None) -> Image.Image:
    """What every trial of a sweep showed as it trained.

    At most 20 trials and 6 epochs, spread evenly and the last among them; what is left out is said. Of several
    replicas the first is shown. Of images [N, H, W, C] a cell has the first 16; a single picture [H, W, C] and rows
    and columns [R, K, H, W, C] are whole in it. A cell whose report is damaged, or has no such images, says so.

    Args:
        records: the sweep's.
        key: which images, such as `samples` or `reconstructions`. None takes the first report on the sheet that has
            images, and of its keys what `preferred` says.

    Returns:
        An RGB image; the same records give the same pixels.

    Raises:
        GenlabError: reports on the sheet have images, and none has those of `key`.
    """
    mode = records.manifest.mode
    searched = rank([trial for trial in records.trials.values() if not trial.confirms], mode)
    confirms = rank([trial for trial in records.trials.values() if trial.confirms], mode)
    sections = [("", searched[:ROWS])]
    if confirms:
        sections.append(("trained again on fresh seeds", confirms[:CONFIRMS]))
    shown = [trial for _, trials in sections for trial in trials]
    columns = spread(max((trial.last.epoch for trial in shown if trial.last), default=0))
    key = _key(records, shown, columns, key)
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
    _header(pen, records, len(searched), len(searched[:ROWS]), key, width)
    for i, epoch in enumerate(columns):
        x = MARGIN + LABEL + i * (CELL + GAP)
        pen.text((x + CELL / 2, HEAD + COLUMN_HEAD / 2), f"epoch {epoch}", INK, _font(15), anchor="mm")
    y = HEAD + COLUMN_HEAD
    for title, trials in sections:
        if title:
            pen.text((MARGIN, y + BAND / 2), title, INK, _font(15), anchor="lm")
            y += BAND
        for position, trial in enumerate(trials, 1):
            pen.line([(MARGIN, y - GAP / 2), (width - MARGIN, y - GAP / 2)], LINE)
            reports = _Reports(records, trial)
            _label(pen, y, position, trial, reports, records, differing)
            _cells(sheet, pen, y, trial, reports, columns, key)
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


class _Reports:
    """The reports of one trial by epoch, read when asked for; a damaged one is its error."""

    def __init__(self, records: Records, trial: TrialRecord) -> None:
        self._storage, self._trial = records.storage, trial
        self._read: dict[int, EpochReport | GenlabError] = {}

    def __getitem__(self, epoch: int) -> EpochReport | GenlabError:
        if epoch not in self._read:
            name = self._trial.epochs[epoch].report
            try:
                self._read[epoch] = EpochReport.read(self._storage, name)
            except GenlabError as error:
                self._read[epoch] = error
        return self._read[epoch]


def _epochs(trial: TrialRecord, columns: Sequence[int]) -> list[int]:
    """The epoch that each column shows: its own one; or the last of the trial, where that is between this column and
    the one before."""
    last = trial.last.epoch if trial.last else 0
    return [last if before < last < column else column for before, column in zip((0, *columns), columns, strict=False)]


def preferred(images: Mapping[str, np.ndarray]) -> str | None:
    """Which of a replica's images to show where nobody asked for a key: `samples` if they are there, else the first;
    never `test/…`, images of test data. None if there are none that can be shown."""
    keys = [key for key, own in images.items() if own.size and can_be_shown(own) and not key.startswith(TEST)]
    return PREFERRED if PREFERRED in keys else next(iter(keys), None)


def _key(records: Records, shown: Sequence[TrialRecord], columns: Sequence[int], asked: str | None) -> str | None:
    """Which images to show: see `contact_sheet`. None if nobody asked and no report on the sheet has any."""
    names, there = {trial.name for trial in shown}, dict[str, None]()
    for trial in (trial for trial in records.trials.values() if trial.name in names):
        reports = _Reports(records, trial)
        for report in (reports[epoch] for epoch in _epochs(trial, columns) if epoch in trial.epochs):
            images = report.replicas[0].images if isinstance(report, EpochReport) and report.replicas else {}
            if asked is None and (key := preferred(images)) is not None:
                return key
            if asked in images:
                return asked
            there |= dict.fromkeys(images)
    if asked is not None and there:
        raise GenlabError(f"no report has the images {asked!r}: {nearest(asked, there)}")
    return asked


def _header(pen: ImageDraw.ImageDraw, records: Records, trials: int, shown: int, key: str | None, width: int) -> None:
    pen.text((MARGIN, 16), records.name, INK, _font(24))
    metric, mode = records.manifest.metric, records.manifest.mode
    words = [f"{metric}, {BETTER.get(mode, mode)}", f"{trials} trial{'s' * (trials != 1)}, best first"]
    if shown < trials:
        words.append(f"the last {trials - shown} are left out")
    if key is not None:
        words.append(f"images: {key}")
    pen.text((MARGIN, 48), "  ·  ".join(words), FAINT, _font(14))
    pen.line([(MARGIN, HEAD + COLUMN_HEAD - GAP / 2), (width - MARGIN, HEAD + COLUMN_HEAD - GAP / 2)], LINE)


def _label(
    pen: ImageDraw.ImageDraw,
    y: int,
    position: int,
    trial: TrialRecord,
    reports: _Reports,
    records: Records,
    differing: Sequence[str],
) -> None:
    """Left of a row: position and name, objective, how it ended, and the settings that make it another trial."""
    color, metric = COLORS.get(trial.ends, INK), records.manifest.metric
    pen.rectangle([(MARGIN, y), (MARGIN + 3, y + CELL - 1)], color)
    x = MARGIN + 14
    pen.text((x, y), _fit(pen, f"{position}.  {trial.name}", 17), INK, _font(17))
    value = "no objective" if trial.objective is None else f"{trial.objective:.5g}"
    last = reports[trial.last.epoch] if trial.last and trial.objective is not None else None
    if isinstance(last, EpochReport) and f"{metric}/std" in (metrics := last.metrics()):
        value += f" ± {metrics[f'{metric}/std']:.2g}"
    pen.text((x, y + 24), _fit(pen, value, 20), INK, _font(20))
    ended = trial.ends or "unfinished"
    if trial.last:
        ended += f" after epoch {trial.last.epoch}"
    pen.text((x, y + 52), _fit(pen, ended, 14), color, _font(14))
    names = list(trial.settings) if trial.confirms else differing
    names = [name for name in names if name in trial.settings]
    room = SETTINGS if len(names) <= SETTINGS else SETTINGS - 1
    column = max((pen.textlength(name, _font(12)) for name in names[:room]), default=0.0) + 8
    for i, name in enumerate(names[:room]):
        top = y + 74 + i * 14.5
        pen.text((x, top), _fit(pen, name, 12), FAINT, _font(12))
        value = _fit(pen, _value(trial.settings[name]), 12, column)
        pen.text((x + column, top), value, INK, _font(12))
    if len(names) > room:
        pen.text((x, y + 74 + room * 14.5), f"and {len(names) - room} more", FAINT, _font(12))


def _cells(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    y: int,
    trial: TrialRecord,
    reports: _Reports,
    columns: Sequence[int],
    key: str | None,
) -> None:
    """A row. The last epoch of a trial that ended between two columns stands in the later one, and says so."""
    told = False
    for i, (column, epoch) in enumerate(zip(columns, _epochs(trial, columns), strict=True)):
        x = MARGIN + LABEL + i * (CELL + GAP)
        if epoch in trial.epochs:
            images = _images(reports[epoch], key)
            if isinstance(images, str):
                _empty(pen, x, y, images)
            else:
                sheet.paste(_cell(images), (x, y))
            if epoch != column:
                _flag(pen, x, y + CELL - 31, f"epoch {epoch}")
        elif not told:
            told = True
            _empty(pen, x, y, _why(trial))


def _images(report: EpochReport | GenlabError, key: str | None) -> np.ndarray | str:
    """The first replica's images, as `grid` takes them, or why there are none."""
    if isinstance(report, GenlabError):
        return "The report of this epoch is damaged or missing."
    if key is None:
        return "No images in this epoch."
    images = report.replicas[0].images.get(key) if report.replicas else None
    if images is None or not images.size:
        return f"No images {key!r} in this epoch."
    if not can_be_shown(images):
        return f"The images {key!r} have an unknown shape."
    return images


def _why(trial: TrialRecord) -> str:
    if trial.error is not None:
        return f"Failed: {last_line(trial.error)}"
    texts = {"pruned": "Stopped early by the scheduler.", "diverged": "Diverged: a loss was no longer finite."}
    return texts.get(trial.ends or "", "Ended before this epoch." if trial.ends else "Not trained yet.")


def _cell(images: np.ndarray) -> Image.Image:
    """Images that `grid` takes as a square of CELL pixels, in its middle."""
    rows = columns = 1
    if images.ndim == 5:
        rows, columns = images.shape[:2]
    elif images.ndim == 4:  # in no order: the first ones, in a square
        rows = columns = min(SHOWN, math.ceil(math.sqrt(len(images))))
        images = images[: rows * columns]
    width, height = ((CELL - PAD) // count - PAD for count in (columns, rows))
    if images.ndim == 3 or min(width, height) < 1:
        whole = _fitted(grid(images), CELL, CELL)
    else:
        tiles = images.reshape(-1, *images.shape[-3:])
        whole = grid(np.stack([_fitted(grid(tile), width, height, smooth=2.0) for tile in tiles]), columns)
    cell = Image.new("RGB", (CELL, CELL), "white")
    cell.paste(Image.fromarray(whole), ((CELL - whole.shape[1]) // 2, (CELL - whole.shape[0]) // 2))
    return cell


def _fitted(image: np.ndarray, width: int, height: int, smooth: float = 1.0) -> np.ndarray:
    """`image` uint8 [H, W, 3] as large as it gets in width x height, its aspect ratio kept. Up to `smooth` times its
    size pixels are blended, above they are repeated whole and stay sharp."""
    scale = min(width / image.shape[1], height / image.shape[0])
    if scale >= smooth:
        return image.repeat(math.floor(scale), 0).repeat(math.floor(scale), 1)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


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
