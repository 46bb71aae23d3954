"""genlab: train, attack and defend small generative and adversarial models, many settings at once.

Importing the library pulls in neither Ray nor MLflow, and torch only once networks are loaded.
"""

from __future__ import annotations

from genlab import hidden

hidden.check()  # before anything is imported that may be hidden

TYPE_CHECKING = False  # `typing` may be hidden
if TYPE_CHECKING:
    from typing import Any

    from genlab.results import open
    from genlab.sampling import sample
    from genlab.training.checkpoints import Checkpoint, load

__all__ = ["Checkpoint", "load", "open", "sample"]

MODULES = {
    "Checkpoint": "genlab.training.checkpoints",
    "load": "genlab.training.checkpoints",
    "open": "genlab.results",
    "sample": "genlab.sampling",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
