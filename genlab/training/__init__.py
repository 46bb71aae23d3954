"""How one trial trains: the loop, its replicas, its checkpoints."""

from genlab.training.checkpoints import Checkpoint, load
from genlab.training.loop import Loop
from genlab.training.preparation import Preparation, prepare, prepared
from genlab.training.trial import Trial, start

__all__ = ["Checkpoint", "Loop", "Preparation", "Trial", "load", "prepare", "prepared", "start"]
