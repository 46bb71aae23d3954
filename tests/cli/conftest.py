"""The shared fixtures of made-up sweeps."""

from made_sweeps import bytecode, database, make_sweep, migrated

__all__ = ["bytecode", "database", "make_sweep", "migrated"]
