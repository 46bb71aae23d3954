"""The driver's lanes: one long-lived Ray Train run each, in a supervised thread, started again should it end early."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
import time
from typing import Any

import ray

from genlab.errors import last_line
from genlab.lanes.calls import beside_driver
from genlab.lanes.mailbox import Mailbox
from genlab.lanes.worker import LaneSettings

GIVE_UP = 4  # runs in a row that serve nothing: such a lane is lost, though it is tried on and on
PAUSES = (0.5, 60.0)  # seconds before such a run is started again: at first, then twice as long each time; at most
END = 10.0  # seconds at most that a run takes to notice that it was killed


def pause_after(failures: int) -> float:
    """Seconds before a run is started that follows on so many, in a row, that served nothing."""
    return min(PAUSES[1], PAUSES[0] * 2 ** (failures - 1)) if failures else 0.0


class LanePool:
    """Lanes and their mailbox. Nothing in it is detached: when the driver dies, all of it is gone."""

    def __init__(
        self, lanes: int, workers: int, resources: dict[str, float], settings: LaneSettings, deadline: float
    ) -> None:
        """
        Args:
            resources: of one worker, in Ray's names.
            settings: of a lane; its number and the mailbox are filled in here.
            deadline: seconds after which "no lane is up" ends the sweep.
        """
        self.lanes, self.workers, self.resources, self.deadline = lanes, workers, resources, deadline
        self.mailbox: Any = beside_driver(Mailbox, lanes)
        self.settings = dataclasses.replace(settings, mailbox=self.mailbox)
        self.scratch = tempfile.TemporaryDirectory(prefix="genlab-lanes-", ignore_cleanup_errors=True)
        self.closing = threading.Event()
        self.problem: str | None = None
        self.lost: dict[int, str] = {}  # lanes that do not come up, and why
        self.last_up, self.was_up = time.monotonic(), False
        self.runs = 0
        self.trainers: dict[int, Any] = {}
        self.threads = [
            threading.Thread(target=self._supervise, args=(lane,), daemon=True, name=f"lane {lane}")
            for lane in range(lanes)
        ]
        for thread in self.threads:
            thread.start()

    def _supervise(self, lane: int) -> None:
        failures = 0
        while not self.closing.is_set():
            served = False
            error: Exception | None = None
            try:
                self.runs += 1
                self._train(lane)
            except Exception as raised:
                error = raised
            if self.closing.is_set():
                return
            with contextlib.suppress(Exception):
                # a controller that died leaves its placement group behind
                gone: Any = ray.get(self.mailbox.gone.remote(lane), timeout=30)
                group, served = gone
                if group is not None and group[0] is not None:
                    ray.util.remove_placement_group(group[0])
            failures = 0 if served else failures + 1
            if failures >= GIVE_UP:
                self.lost[lane] = last_line(str(error)) if error else "its run ends at once"
            self.closing.wait(pause_after(failures))

    def _train(self, lane: int) -> None:
        """One Ray Train run, as long as it lasts."""
        from genlab.lanes.trainer import controllers_place, lane_run  # imports much

        settings = dataclasses.replace(self.settings, lane=lane)
        name = f"lane-{lane}-{self.runs}"
        where = controllers_place(self.lanes)
        self.trainers[lane] = lane_run(name, settings, self.workers, self.resources, self.scratch.name, where)
        self.trainers[lane].fit()

    def look(self, timeout: float = 60.0) -> dict[str, Any]:
        """The mailbox's view, with the lanes that are `lost`; notes a `problem` once no lane has been up for the
        deadline, or none can ever be."""
        seen: Any = ray.get(self.mailbox.look.remote(), timeout=timeout)
        now = time.monotonic()
        for lane in seen["serving"]:
            self.lost.pop(lane, None)
        if any(seen["lanes"].values()):
            self.last_up, self.was_up = now, True
        elif 0 < self.lanes == len(self.lost):
            which = "the lane does" if self.lanes == 1 else f"all {self.lanes} lanes do"
            self.problem = self.problem or f"{next(reversed(self.lost.values()))}: {which} not come up"
        elif seen["final"] and not self.was_up:  # later it may pass, as where a storage is away from all machines
            self.problem = self.problem or f"{last_line(seen['final'])}; no lane came up"
        elif now - self.last_up > self.deadline:
            why = f"{last_line(seen['error'])}; " if seen["error"] else ""
            self.problem = self.problem or (
                f"{why}no lane came up in {self.deadline:.0f} s: each needs {self.workers} x {self.resources}; "
                f"free are {ray.available_resources()}"
            )
        return {**seen, "lost": dict(self.lost)}

    def close(self, timeout: float = 3.0) -> None:
        """Send the workers home and wait for their runs to end; after `timeout` seconds end them."""
        self.closing.set()
        with contextlib.suppress(Exception):
            ray.get(self.mailbox.close.remote(), timeout=5)
        self._wait_for_runs(timeout)
        for lane, thread in enumerate(self.threads):
            if thread.is_alive() and lane in self.trainers:  # in the middle of an epoch
                with contextlib.suppress(Exception):
                    self.trainers[lane].kill()
        self._wait_for_runs(END)  # who talks to a Ray that has been shut down ends the whole process
        with contextlib.suppress(Exception):
            ray.kill(self.mailbox)
        self.scratch.cleanup()

    def _wait_for_runs(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, end - time.monotonic()))
