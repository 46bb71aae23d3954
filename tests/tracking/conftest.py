"""The shared fixtures of made-up sweeps."""

from made_sweeps import bytecode, database, make_sweep, migrated, mlflow_server

__all__ = ["bytecode", "database", "make_sweep", "migrated", "mlflow_server"]
