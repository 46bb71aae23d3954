"""`pydoc` shows what a package is for: every public name, those included that are imported when they are asked for."""

from __future__ import annotations

import importlib
import pydoc

import pytest


@pytest.mark.parametrize("name", ["genlab", "genlab.data", "genlab.sweep", "genlab.tasks"])
def test_pydoc_shows_every_public_name(name: str) -> None:
    module = importlib.import_module(name)
    shown = pydoc.render_doc(module, renderer=pydoc.plaintext)
    entries = {line.strip().removeprefix("class ").partition("(")[0].partition(" = ")[0] for line in shown.splitlines()}
    assert set(module.__all__) <= entries
    assert all(getattr(module, each) is not None for each in dir(module))
