"""How trials stand is the same whether it is kept up event by event or counted anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sweeps import manifest
from tune_stand_in import part

from genlab.sweep.standing import Standing
from genlab.tracking.records import Records, fold, rank
from genlab.tracking.storage import Storage

NAMES = [f"{i:04d}" for i in range(6)] + ["confirm-0001"]


class Told:
    """Records that are told of by hand and lie nowhere."""

    def __init__(self, folder: Path) -> None:
        self.records = Records.create(Storage(str(folder)), manifest("toy"))

    def __call__(self, kind: str, **content: Any) -> None:
        self.records.note(kind, **content)

    def step(self, name: str, how: int, objective: float) -> None:
        """Whatever may come next of this trial."""
        trial = self.records.trials.get(name)
        if trial is None:
            self("trial", trial=name, settings={}, config={"epochs": 3, "seed": 0}, distributions={})
        elif trial.ends == "failed":
            self("start", options={}, retry=[name])
        elif trial.ends is None and how == 0:
            self("error", trial=name, epoch=None, traceback="x")
        elif trial.ends is None:
            epoch = len(trial.epochs) + 1
            ends = {1: "pruned", 2: "diverged"}.get(how, "completed" if epoch == 3 else None)
            value = None if ends == "diverged" else objective
            self("epoch", trial=name, epoch=epoch, report=part(name), state=None, objective=value, ends=ends)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 6), st.integers(0, 3).map(float)), max_size=60),
    st.integers(1, 9),
    st.sampled_from(["min", "max"]),
)
def test_it_is_what_all_trials_come_to(
    tmp_path_factory: Any, steps: list[tuple[str, int, float]], every: int, mode: str
) -> None:
    told = Told(tmp_path_factory.mktemp("sweep"))
    standing = Standing(told.records, mode)
    for i, step in enumerate(steps):
        told.step(*step)
        if i % every == 0 or i + 1 == len(steps):
            standing.update()
            trials = list(told.records.trials.values())
            searched = [trial for trial in trials if not trial.confirms]
            ended = [trial for trial in searched if trial.ends is not None]
            assert (standing.searched, standing.ended) == (len(searched), len(ended))
            assert standing.epochs == sum(len(trial.epochs) for trial in trials)
            assert standing.ended_epochs == sum(len(trial.epochs) for trial in ended)
            running = [trial for trial in trials if trial.ends is None]
            assert {trial.name for trial in standing.running.values()} == {trial.name for trial in running}
            assert [trial.name for trial in standing.searching()] == [
                trial.name for trial in standing.running.values() if not trial.confirms
            ]
            ranked = [trial.name for trial in rank([trial for trial in trials if trial.ends is not None], mode)]
            shown = [trial.name for trial in standing.first(99)]
            assert shown[len(running) :] == ranked and len(list(standing.first(2))) == min(2, len(trials))


def test_what_could_not_be_written_is_taken_back(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.step("0000", 5, 1.0)
    told.records.commit()
    standing = Standing(told.records, "min").update()
    for name, objective in (("0000", 1.0), ("0001", 0.0)):
        told.step(name, 5, objective)
    assert (standing.update().epochs, standing.searched) == (1, 2)
    told.records.forget()
    assert (standing.update().epochs, standing.searched) == (0, 1)
    assert standing.running == fold(told.records.events)
    for name, times in (("0000", 3), ("0001", 4), ("0002", 3)):
        for _ in range(times):
            told.step(name, 5, 1.0)
        if name == "0000":
            told.records.commit()
    standing.update()
    told.records.forget()  # the first trial's end alone was written
    assert (standing.update().ended, standing.ended_epochs, standing.epochs) == (1, 3, 3)
    assert [trial.name for trial in standing.first(9)] == ["0000"]
