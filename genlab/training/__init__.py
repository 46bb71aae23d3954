"""How one trial trains: the loop, its replicas, its checkpoints."""

from genlab.training.checkpoints import Checkpoint
from genlab.training.loop import Loop
from genlab.training.preparation import prepare, prepared_networks
from genlab.training.trial import Trial, implementation, start

__all__ = ["Checkpoint", "Loop", "Trial", "implementation", "prepare", "prepared_networks", "start"]
