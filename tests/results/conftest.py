"""The shared fixtures of made-up sweeps."""

from made_sweeps import make_sweep

__all__ = ["make_sweep"]
