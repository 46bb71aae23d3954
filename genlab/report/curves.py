"""A sweep's best trial beside its default setting: all metrics, and the losses and scores of every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from genlab.errors import GenlabError, last_line, nearest
from genlab.report import by_epoch, by_setting, by_step, values
from genlab.report.by_epoch import TRIALS
from genlab.report.page import LEFT, LETTERS, LINE_HEIGHT, WIDTH, Section, page, wrapped, write
from genlab.report.style import BETTER, FAINT, STYLE, pixels, told
from genlab.report.trials import Trained, trained
from genlab.tracking.outcome import Outcome, outcome
from genlab.tracking.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT = "default setting"
ABOVE, NAME = 0.15, 0.6  # inches: above the sweep's name; of it and the line below it
SETTINGS = 3  # lines of a trial's settings
SAMPLE = 0.45  # inches: of a trial's line in the header


def curves(records: Records, trial: str | None = None) -> Image.Image:
    """`curves_figure` as a picture: an RGB image; the same records give the same pixels."""
    return Image.fromarray(pixels(curves_figure(records, trial)))


def curves_figure(records: Records, trial: str | None = None) -> Figure:
    """How the best trial of a sweep trained, and the one of its default setting.

    From above:

    - the sweep and the trials, with their settings and how their lines look;
    - of a sweep whose trials have one epoch each, the metric of all trials over every field that was searched;
    - the metrics by epoch, the sweep's own first; related ones share a panel (`groups.related`), and a series such as
      `accuracy/pgd/eps_0.01`, `accuracy/pgd/eps_0.02`, ... is also shown over its number;
    - in words what has no curve: metrics that never change, that were reported once, test data, speeds;
    - the losses and scores of every step, of the first seed: every step as a thin line, a running mean as a thick one.
      An axis leaves out the outermost 0.2 % of steps, and says how many.

    Args:
        records: the sweep's.
        trial: name of the one trial to show instead.

    Raises:
        GenlabError: there is no such trial.
    """
    import matplotlib

    metric, mode = records.manifest.metric, records.manifest.mode
    found = outcome(records.trials.values(), mode)
    with matplotlib.rc_context(STYLE):
        shown = _shown(records, found, trial)
        sections = [_header(records.name, metric, mode, found, shown)]
        if any(one.metrics for one in shown):
            kinds = values.kinds(shown, metric)
            if max(len(one.epochs) for one in (*found.searched, *(one.trial for one in shown))) == 1:
                sections += by_setting.sections(found.searched, shown, metric)
            sections += by_epoch.sections(shown, metric, mode, kinds)
            sections += values.sections(shown, metric, kinds)
            sections += by_step.sections(shown)
        return page(sections)


def _shown(records: Records, found: Outcome, asked: str | None) -> list[Trained]:
    """The trials to show: the best and the default one, or that which was asked for."""
    if asked is not None:
        if asked not in records.trials:
            known = nearest(asked, records.trials) if records.trials else "none has begun"
            raise GenlabError(f"the sweep {records.name} has no trial {asked!r}: {known}")
        return [trained(records, records.trials[asked], "")]
    if not found.searched:
        return []
    default = found.searched[0]
    if found.best is None:
        return [trained(records, default, DEFAULT)]
    if found.best is default:
        return [trained(records, default, f"best and {DEFAULT}")]
    return [trained(records, found.best, "best"), trained(records, default, DEFAULT)]


def _header(name: str, metric: str, mode: str, found: Outcome, shown: Sequence[Trained]) -> Section:
    """The sweep, and what each trial is: which line, which settings, what came of it."""
    ends = Counter(trial.ends or "unfinished" for trial in found.searched)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(ends.items()))
    trials = f"{len(found.searched)} trial{'s' * (len(found.searched) != 1)} ({counted})"
    words = [f"{metric}, {BETTER.get(mode, mode)}", trials if counted else "no trial has begun"]
    if any(len(one.seeds) > 1 for one in shown):
        words.append(f"means of {max(len(one.seeds) for one in shown)} seeds, and bands of one standard deviation")
    told_of = [(_came_of(one, metric), wrapped(_settings(one), SETTINGS, LETTERS - 8)) for one in shown]
    height = ABOVE + NAME + sum((1.4 + len(settings)) * LINE_HEIGHT for _, settings in told_of) + 0.1
    return Section(height, partial(_draw_header, name, "  ·  ".join(words), told_of))


def _draw_header(
    name: str, words: str, told_of: Sequence[tuple[str, Sequence[str]]], figure: Figure, top: float
) -> None:
    from matplotlib.lines import Line2D

    write(figure, LEFT, top + ABOVE, name, size=14)
    write(figure, LEFT, top + ABOVE + 0.3, words, FAINT)
    at = top + ABOVE + NAME
    for style, (what, settings) in zip(TRIALS, told_of, strict=False):
        middle = 1 - (at + LINE_HEIGHT / 2) / figure.get_figheight()
        ends = [LEFT / WIDTH, (LEFT + SAMPLE / 2) / WIDTH, (LEFT + SAMPLE) / WIDTH]
        figure.add_artist(Line2D(ends, [middle] * 3, markersize=5, markevery=[1], **style))
        write(figure, LEFT + SAMPLE + 0.1, at, what)
        for i, line in enumerate(settings, 1):
            write(figure, LEFT + SAMPLE + 0.1, at + i * LINE_HEIGHT, line, FAINT)
        at += (1.4 + len(settings)) * LINE_HEIGHT


def _came_of(one: Trained, metric: str) -> str:
    """Which trial it is, what it reached, and how it ended."""
    trial = one.trial
    value = values.value_of(one, metric) or told(trial.objective)
    reached = "no objective" if trial.objective is None else f"{metric} {value}"
    ended = trial.ends or "unfinished"
    if trial.last:
        ended += f" after epoch {trial.last.epoch}"
    if trial.error is not None:
        ended += f": {last_line(trial.error)}"
    if not one.metrics:
        ended += "; its reports are damaged or missing" if one.damaged else "; no epoch can be shown"
    return wrapped(f"{one.called}: {reached}, {ended}", 1, LETTERS - 8)[0]


def _settings(one: Trained) -> str:
    return "  ".join(f"{name}={told(value)}" for name, value in one.trial.settings.items())
