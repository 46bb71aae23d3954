"""What one trial does. Configs and what a task declares are free of torch; a task is imported where it trains."""

from genlab.tasks.base import (
    CustomTask,
    Inputs,
    Phase,
    PhasedTask,
    Pictures,
    Replica,
    Report,
    Reuse,
    State,
    Stream,
    Task,
)
from genlab.tasks.classifier_config import ClassifierConfig
from genlab.tasks.config import Config, PhasedConfig
from genlab.tasks.context import Context
from genlab.tasks.dae_config import DAEConfig
from genlab.tasks.fields import build
from genlab.tasks.gan_config import GANConfig
from genlab.tasks.optimizers import SGD, Adam
from genlab.tasks.prepared import FromCheckpoint, FromTask, FromWeights, Prepared
from genlab.tasks.registry import config_class, configs, implementation, task_name
from genlab.tasks.vae_config import VAEConfig

__all__ = [
    "SGD",
    "Adam",
    "ClassifierConfig",
    "Config",
    "Context",
    "CustomTask",
    "DAEConfig",
    "FromCheckpoint",
    "FromTask",
    "FromWeights",
    "GANConfig",
    "Inputs",
    "Phase",
    "PhasedConfig",
    "PhasedTask",
    "Pictures",
    "Prepared",
    "Replica",
    "Report",
    "Reuse",
    "State",
    "Stream",
    "Task",
    "VAEConfig",
    "build",
    "config_class",
    "configs",
    "implementation",
    "task_name",
]
