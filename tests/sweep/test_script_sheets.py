"""Every script of the README and of docs/tasks.md, run without Ray: its contact sheet holds a picture wherever a trial
has trained."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import page_scripts
import pytest
from one_process import Machine
from one_process import machine as machine
from PIL import Image

import genlab
from genlab.report.contact_sheet import CELL, COLUMN_HEAD, EMPTY, GAP, HEAD, LABEL, MARGIN

README = (Path(__file__).parents[2] / "README.md").read_text()
IN_README = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SCRIPTS = {
    match[1]: code
    for code in (*IN_README, *page_scripts.SCRIPTS.values())
    if (match := re.search(r'name="([\w-]+)"', code))
}


def test_there_are_some_in_each() -> None:
    assert page_scripts.SCRIPTS and SCRIPTS.keys() > page_scripts.SCRIPTS.keys()


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_cell_of_a_trained_epoch_holds_a_picture(
    name: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(page_scripts.SCRIPTS, name, SCRIPTS[name])
    sweep = page_scripts.module(name, tmp_path).SWEEP
    assert machine.run(sweep, trials=2, epochs=2, scheduler="fifo") == 0
    results = genlab.open(machine.records.storage.url)
    assert list(results.trials().epoch) == [2, 2]
    where = machine.records.storage.where("contact_sheet.png")
    assert f"contact sheet: {where}\n" in capsys.readouterr().out
    sheet = np.asarray(Image.open(where))
    for row in range(2):
        for column in range(2):
            x, y = MARGIN + LABEL + column * (CELL + GAP), HEAD + COLUMN_HEAD + row * (CELL + GAP)
            cell = sheet[y : y + CELL, x : x + CELL]
            assert float((cell == EMPTY).all(-1).mean()) < 0.01  # the ground on which a sentence stands
            gray = cell.mean(-1)
            assert len(np.unique(gray)) > 20 and float((gray < 100).mean()) > 0.05
    assert (sheet[:, MARGIN + LABEL :][HEAD + COLUMN_HEAD + CELL * 2 + GAP * 2 :] == 255).all()  # no third row
