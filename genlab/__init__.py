"""genlab: train, attack and defend small generative and adversarial models, many settings at once.

Importing the library pulls in neither Ray nor MLflow, and torch only once `load` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genlab.training.checkpoints import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genlab.training.checkpoints import load

    return load
