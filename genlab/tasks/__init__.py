"""What one trial does. The contract and the configs are free of torch; a task is imported where it trains."""

from genlab.tasks.base import AdamSettings, Contract, Draw, Phase, PhasedTask, Place, Report, State, Task
from genlab.tasks.config import CONFIGS, ClassifierConfig, Config, GANConfig, PhasedConfig, build, config_class

__all__ = [
    "CONFIGS",
    "AdamSettings",
    "ClassifierConfig",
    "Config",
    "Contract",
    "Draw",
    "GANConfig",
    "Phase",
    "PhasedConfig",
    "PhasedTask",
    "Place",
    "Report",
    "State",
    "Task",
    "build",
    "config_class",
]
