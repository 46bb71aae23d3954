"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.live import Live
from rich.table import Table

from genlab.errors import last_line
from genlab.screen import Screen
from genlab.sweep.plan import Plan
from genlab.sweep.standing import Standing
from genlab.tracking.records import Records, TrialRecord

ROWS = 15


class LogToView(logging.Handler):
    """Shows what genlab logs in the driver's process."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.WARNING)
        self.view = view

    def emit(self, record: logging.LogRecord) -> None:
        self.view.say(self.format(record))


class View:
    """Trials, objective, epoch and time left."""

    def __init__(self, plan: Plan, records: Records) -> None:
        self.plan, self.records = plan, records
        self.standing = Standing(records, plan.sweep.mode)
        self.console = Screen()
        self.first: tuple[float, int] | None = None  # when the first epoch came, and how many there were then
        self.live: Live | None = None
        self.lanes = ""  # how many are up of how many

    @contextlib.contextmanager
    def logs(self) -> Iterator[None]:
        """Meanwhile what genlab logs in this process is shown."""
        logger, handler = logging.getLogger("genlab"), LogToView(self)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def say(self, text: str) -> None:
        """Lines above the table."""
        self.console.print(text, soft_wrap=True)

    def lanes_up(self, up: int, wanted: int, lost: Mapping[int, str]) -> None:
        """How many lanes are there; `lost` are those that do not come up, by number, and why."""
        why = f" ({'; '.join(f'lane {number}: {reason}' for number, reason in sorted(lost.items()))})" if lost else ""
        self.lanes = f"{up}/{wanted} lanes{why}"

    def advanced(self, record: TrialRecord) -> None:
        """A trial ended an epoch and goes on. The table shows it by itself."""
        self.first = self.first or (time.monotonic(), self.standing.update().epochs)

    def ended(self, record: TrialRecord) -> None:
        """A trial ended. The table shows it by itself, but for why it failed."""
        self.advanced(record)
        if self.live is None or record.ends == "failed":
            self.say(self.line(record))

    def line(self, record: TrialRecord) -> str:
        """A trial in one line of plain text."""
        if record.error is not None:
            return f"{self._count():>9}  trial {record.name} failed: {last_line(record.error)}"
        epoch = record.last.epoch if record.last else 0
        words = [f"{self._count():>9}  trial {record.name}  {record.ends or 'running':9}"]
        words.append(f"epoch {epoch}/{record.config['epochs']}")
        words.append(f"{self.plan.sweep.metric} {show(record.objective)}")
        words.append(" ".join(f"{name}={show(value)}" for name, value in record.settings.items()))
        words.append(self._left())
        return "  ".join(word for word in words if word)

    def _count(self) -> str:
        return f"{self.standing.update().ended}/{self.plan.trials}"

    def _left(self) -> str:
        """A guess: trials to come train as many epochs as those that ended did on average."""
        standing = self.standing.update()
        if not standing.ended or self.first is None or standing.epochs == self.first[1]:
            return ""
        mean = max(1.0, standing.ended_epochs / standing.ended)
        to_come = mean * max(0, self.plan.trials - standing.searched)
        to_come += sum(max(1.0, mean - len(trial.epochs)) for trial in standing.searching())
        if not to_come:
            return ""
        seconds = (time.monotonic() - self.first[0]) / (standing.epochs - self.first[1]) * to_come
        return f"about {int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _table(self) -> Table:
        metric = self.plan.sweep.metric
        table = Table(
            title=f"{self.records.name}  {self._count()} trials  {self.lanes}  {self._left()}", title_justify="left"
        )
        for column in ("trial", "epoch", metric, "", "settings"):
            table.add_column(column, justify="right" if column in ("epoch", metric) else "left", overflow="ellipsis")
        for trial in self.standing.first(ROWS):
            settings = " ".join(f"{name}={show(value)}" for name, value in trial.settings.items())
            epoch = f"{trial.last.epoch if trial.last else 0}/{trial.config['epochs']}"
            table.add_row(trial.name, epoch, show(trial.objective), trial.ends or "running", settings)
        return table


def show(value: Any) -> str:
    """A value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
