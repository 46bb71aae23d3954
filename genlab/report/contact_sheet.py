"""One picture of a whole sweep: a row a trial, best first, with what each showed as it trained."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from genlab.errors import GenlabError, nearest
from genlab.grids import Labels, can_be_shown, font
from genlab.report import cells
from genlab.report.cells import CELL
from genlab.report.strips import MetricStrips
from genlab.report.style import BETTER, ENDS, FAINT, INK, LINE, TEST, fitting, told
from genlab.report.trials import Reports, why_no_more
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import Records, TrialRecord, rank

COLUMNS, ROWS, CONFIRMS = 6, 20, 5  # epochs at most; trials; rows more for trials that confirm
ACROSS = 1500  # pixels side by side from which on there are fewer than six epochs
LOOKED = 24  # epochs of one trial that are looked at for images
SETTINGS = 8  # lines of them in a label
LOWEST = 130  # pixels: of a row without images
PREFERRED = "samples"  # the key that is shown where none is asked for
GAP, LABEL, MARGIN = 10, 250, 24  # pixels
HEAD, COLUMN_HEAD, BAND = 64, 30, 30
EMPTY = (243, 244, 247)


def contact_sheet(records: Records, key: str | None = None) -> Image.Image:
    """What every trial of a sweep showed as it trained.

    At most 20 trials, and 6 epochs, spread evenly and the last among them; wide images have wider cells, and then fewer
    epochs, 3 at least. What is left out is said. Of several replicas the first is shown. Of images [N, H, W, C] a cell
    has the first 16; a single picture [H, W, C] and rows and columns [R, K, H, W, C], with their labels, are whole in
    it. A cell whose report is damaged, or has no such images, says so. Where no report has any images, a row has the
    curve of the sweep's metric and the other metrics of the trial's last epoch instead.

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
    differing = differences(searched)
    body = _body(records, shown, differing, key)
    words = _words(records, len(searched), len(sections[0][1]), body)
    height = HEAD + COLUMN_HEAD + MARGIN
    height += sum(len(trials) * (body.height + GAP) + (BAND if title else 0) for title, trials in sections)
    width = max(LABEL + body.width, round(font(14, words).getlength(words)), round(font(24).getlength(records.name)))
    width += 2 * MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 16), records.name, INK, font(24, records.name))
    pen.text((MARGIN, 48), words, FAINT, font(14, words))
    pen.line([(MARGIN, HEAD + COLUMN_HEAD - GAP / 2), (width - MARGIN, HEAD + COLUMN_HEAD - GAP / 2)], LINE)
    for middle, head in body.heads:
        pen.text((MARGIN + LABEL + middle, HEAD + COLUMN_HEAD / 2), head, INK, font(15, head), anchor="mm")
    y = HEAD + COLUMN_HEAD
    for title, trials in sections:
        if title:
            pen.text((MARGIN, y + BAND / 2), title, INK, font(15), anchor="lm")
            y += BAND
        for position, trial in enumerate(trials, 1):
            pen.line([(MARGIN, y - GAP / 2), (width - MARGIN, y - GAP / 2)], LINE)
            reports = Reports(records, trial)
            _label(pen, y, body.height, position, trial, reports, records, differing)
            body.draw(sheet, MARGIN + LABEL, y, trial, reports)
            y += body.height + GAP
    if not shown:
        pen.text((MARGIN, y), "No trial has begun.", FAINT, font(15))
    return sheet


def spread(last: int, most: int = COLUMNS) -> list[int]:
    """At most `most` epochs from 1 to `last`, evenly chosen, both ends among them."""
    return sorted({round(epoch) for epoch in np.linspace(1, last, min(most, last))}) if last else []


def differences(trials: Sequence[TrialRecord]) -> list[str]:
    """The settings that are not the same in all trials, in the order in which they were named."""
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    return [name for name in names if len({repr(trial.settings.get(name)) for trial in trials}) > 1]


def preferred(images: Mapping[str, np.ndarray]) -> str | None:
    """Which of a replica's images to show where nobody asked for a key: `samples` if they are there, else the first;
    never `test/…`, images of test data. None if there are none that can be shown."""
    keys = [key for key, own in images.items() if own.size and can_be_shown(own) and not key.startswith(TEST)]
    return PREFERRED if PREFERRED in keys else next(iter(keys), None)


class Seen(NamedTuple):
    """Images that a cell can show, as `grid` takes them, and the labels of their rows and columns."""

    images: np.ndarray
    labels: Labels


class ImageCells:
    """A column an epoch, in each cell its images.

    Attributes:
        width, height: of a row, in pixels.
        words: for the line below the sweep's name.
        heads: titles above the rows, each with its middle, in pixels from their left.
    """

    def __init__(self, key: str, first: Seen, epochs: Sequence[int]) -> None:
        """
        Args:
            key: of the images.
            first: those by which the cells are as large as they are.
            epochs: of which columns are chosen.
        """
        self._key = key
        self._wide, self._high = cells.size(*cells.arranged(*first))
        self._cell = max(CELL, self._wide)
        most = min(COLUMNS, ACROSS // (self._cell + GAP))  # of the widest cells three
        self._epochs = [epochs[i - 1] for i in spread(len(epochs), most)]
        self.width = len(self._epochs) * (self._cell + GAP) - GAP
        self.height = max(CELL, self._high)
        self.words = f"images: {key}"
        self.heads = [(self._left(i) + self._cell / 2, f"epoch {epoch}") for i, epoch in enumerate(self._epochs)]

    def _left(self, column: int) -> int:
        return column * (self._cell + GAP)

    def draw(self, sheet: Image.Image, x: int, y: int, trial: TrialRecord, reports: Reports) -> None:
        """A row. The last epoch of a trial that ended between two columns stands in the later one, and says so."""
        said = False
        pen = ImageDraw.Draw(sheet)
        for i, (column, epoch) in enumerate(zip(self._epochs, epochs_shown(trial, self._epochs), strict=True)):
            left = x + self._left(i)
            if epoch in trial.epochs:
                seen = seen_in(reports[epoch], self._key)
                if isinstance(seen, str):
                    self._note(pen, left, y, seen)
                else:
                    whole = cells.drawn(*cells.arranged(*seen), self._cell, self.height)
                    place = (left + (self._cell - whole.shape[1]) // 2, y + (self.height - whole.shape[0]) // 2)
                    sheet.paste(Image.fromarray(whole), place)
                if epoch != column:
                    _flag(pen, left, y + self.height - 31, f"epoch {epoch}")
            elif not said:
                said = True
                self._note(pen, left, y, why_no_more(trial))

    def _note(self, pen: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
        pen.rectangle([(x, y), (x + self._cell - 1, y + self.height - 1)], EMPTY)
        lines = textwrap.wrap(text, self._cell // 8 + 1)[:6]
        middle = (x + self._cell / 2, y + self.height / 2)
        pen.multiline_text(middle, "\n".join(lines), FAINT, font(13, text), anchor="mm", align="center")


def epochs_shown(trial: TrialRecord, columns: Sequence[int]) -> list[int]:
    """The epoch that each column shows: its own one; or the last of the trial, where that is between this column and
    the one before."""
    last = trial.last.epoch if trial.last else 0
    return [last if before < last < column else column for before, column in zip((0, *columns), columns, strict=False)]


def seen_in(report: EpochReport | GenlabError, key: str) -> Seen | str:
    """The first replica's images, or why there are none."""
    if isinstance(report, GenlabError):
        return "The report of this epoch is damaged or missing."
    images = report.replicas[0].images.get(key)
    if images is None or not images.size:
        return f"No images {key!r} in this epoch."
    return Seen(images, report.replicas[0].labels.get(key, Labels()))


def _body(
    records: Records, shown: Sequence[TrialRecord], differing: Sequence[str], asked: str | None
) -> ImageCells | MetricStrips:
    """Images, where a report on the sheet has some to show; else the metrics.

    Raises:
        GenlabError: as `contact_sheet`.
    """
    last = max((trial.last.epoch for trial in shown if trial.last), default=0)
    names, there = {trial.name for trial in shown}, dict[str, None]()
    for trial in (trial for trial in records.trials.values() if trial.name in names):
        reports = Reports(records, trial)
        for report in (reports[epoch] for epoch in epochs_shown(trial, spread(last)) if epoch in trial.epochs):
            images = report.replicas[0].images if isinstance(report, EpochReport) else {}
            key = preferred(images) if asked is None else asked
            if key is not None and isinstance(seen := seen_in(report, key), Seen):
                return ImageCells(key, seen, _epochs_of(records, shown, key, last))
            there |= dict.fromkeys(images)
    if asked is not None and there and asked not in there:
        raise GenlabError(f"no report has the images {asked!r}: {nearest(asked, there)}")
    lines = max((min(SETTINGS, len(_settings(trial, differing))) for trial in shown), default=0)
    return MetricStrips(records, shown, list(there), max(LOWEST, round(74 + 14.5 * lines)))


def _epochs_of(records: Records, shown: Sequence[TrialRecord], key: str, last: int) -> list[int]:
    """Of some epochs, evenly chosen, those with images `key`: a task may show some in its last epoch alone. The first
    trial that was trained to epoch `last` and has some decides; a damaged report counts as one that has."""
    every = spread(last, LOOKED)
    for trial in (trial for trial in shown if last in trial.epochs):
        reports = Reports(records, trial)
        seen = {n: seen_in(reports[n], key) for n in every if n in trial.epochs}
        if any(isinstance(one, Seen) for one in seen.values()):
            damaged = {n for n in seen if isinstance(reports[n], GenlabError)}
            return [n for n, one in seen.items() if isinstance(one, Seen) or n in damaged]
    return every


def _words(records: Records, trials: int, shown: int, body: ImageCells | MetricStrips) -> str:
    metric, mode = records.manifest.metric, records.manifest.mode
    words = [f"{metric}, {BETTER.get(mode, mode)}", f"{trials} trial{'s' * (trials != 1)}, best first"]
    if shown < trials:
        words.append(f"the last {trials - shown} are left out")
    return "  ·  ".join([*words, *([body.words] if body.words else [])])


def _settings(trial: TrialRecord, differing: Sequence[str]) -> list[str]:
    """Those that a label names: of a trial that confirms all, since it stands apart."""
    return [name for name in (trial.settings if trial.confirms else differing) if name in trial.settings]


def _label(
    pen: ImageDraw.ImageDraw,
    y: int,
    height: int,
    position: int,
    trial: TrialRecord,
    reports: Reports,
    records: Records,
    differing: Sequence[str],
) -> None:
    """Left of a row: position and name, objective, how it ended, and the settings that make it another trial."""
    color, metric = ENDS.get(trial.ends, INK), records.manifest.metric
    pen.rectangle([(MARGIN, y), (MARGIN + 3, y + height - 1)], color)
    x, room = MARGIN + 14, LABEL - 14 - GAP
    value = "no objective" if trial.objective is None else f"{trial.objective:.5g}"
    last = reports[trial.last.epoch] if trial.last and trial.objective is not None else None
    if isinstance(last, EpochReport) and f"{metric}/std" in (metrics := last.metrics()):
        value += f" ± {metrics[f'{metric}/std']:.2g}"
    ended = trial.ends or "unfinished"
    if trial.last:
        ended += f" after epoch {trial.last.epoch}"
    lines = [(0, f"{position}.  {trial.name}", 17, INK), (24, value, 20, INK), (52, ended, 14, color)]
    for below, text, size, ink in lines:
        text = fitting(pen, text, size, room)
        pen.text((x, y + below), text, ink, font(size, text))
    names = _settings(trial, differing)
    most = SETTINGS if len(names) <= SETTINGS else SETTINGS - 1
    column = max((pen.textlength(name, font(12)) for name in names[:most]), default=0.0) + 8
    for i, name in enumerate(names[:most]):
        top = y + 74 + i * 14.5
        value = fitting(pen, told(trial.settings[name]), 12, room - column)
        pen.text((x, top), fitting(pen, name, 12, room), FAINT, font(12))
        pen.text((x + column, top), value, INK, font(12, value))
    if len(names) > most:
        pen.text((x, y + 74 + most * 14.5), f"and {len(names) - most} more", FAINT, font(12))


def _flag(pen: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    left, top, right, bottom = pen.textbbox((x + 8, y + 8), text, font(13))
    pen.rectangle([(left - 5, top - 4), (right + 5, bottom + 4)], INK)
    pen.text((x + 8, y + 8), text, "white", font(13))
