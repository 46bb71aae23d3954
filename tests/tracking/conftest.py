"""The shared fixtures of made-up sweeps."""

from made_sweeps import database, make_sweep, migrated, mlflow_server

__all__ = ["database", "make_sweep", "migrated", "mlflow_server"]
