"""How many trials run: sweeps over lanes, by Tune and Optuna, resumed from their own records."""

from genlab.sweep.main import main
from genlab.sweep.sweep import Sweep, choice, integer, log_uniform, uniform

__all__ = ["Sweep", "choice", "integer", "log_uniform", "main", "uniform"]
