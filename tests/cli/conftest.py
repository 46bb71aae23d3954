"""The shared fixtures of made-up sweeps."""

from made_sweeps import database, make_sweep, migrated

__all__ = ["database", "make_sweep", "migrated"]
