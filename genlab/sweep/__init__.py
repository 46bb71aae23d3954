"""How many trials run: sweeps over lanes, by Tune and Optuna, resumed from their own records.

The names below are imported when they are asked for: lanes and trials import modules of this package, and must not
wait for what only a driver needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genlab.sweep.command import main
    from genlab.sweep.sweep import Sweep, choice, integer, log_uniform, uniform

__all__ = ["Sweep", "choice", "integer", "log_uniform", "main", "uniform"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "main":
        return getattr(import_module("genlab.sweep.sweep"), name)
    import_module("genlab.lanes.bytecode").keep_bytecode()  # a driver begins
    return import_module("genlab.sweep.command").main


def __dir__() -> list[str]:
    return __all__  # what `pydoc genlab.sweep` lists
