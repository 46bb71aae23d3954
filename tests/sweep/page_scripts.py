"""The scripts of docs/tasks.md, taken out of the page."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
SCRIPTS = {
    match.group(1): code
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    if (match := re.search(r'name="(\w+)"', code))
}


def module(name: str, folder: Path) -> ModuleType:
    """The script, imported from a file of its own."""
    path = folder / f"{name}.py"
    path.write_text(SCRIPTS[name])
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made
