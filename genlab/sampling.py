"""Images drawn by what a trial trained, from its checkpoint alone: no data set is read, nothing is executed."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from genlab.errors import GenlabError
from genlab.models import linear_path, spherical_path
from genlab.randomness import generator
from genlab.results import locate
from genlab.results import open as open_sweep
from genlab.tasks import Task
from genlab.tasks.generative import GenerativeTask
from genlab.tasks.images import to_uint8
from genlab.training.checkpoints import Checkpoint, restore

BATCH = 250  # images at a time: many fit into little memory


def sample(
    source: str | os.PathLike[str] | Checkpoint,
    n: int = 64,
    *,
    seed: int = 0,
    task: type[Task] | None = None,
    replica: int = 0,
    device: str = "cpu",
) -> np.ndarray:
    """Images that a trained generator, or decoder, draws: `Sampler(source, …).sample(n, seed)`.

    Returns:
        uint8 [n, H, W, C].

    Raises:
        GenlabError, CorruptFile: as `Sampler`.
    """
    return Sampler(source, task=task, replica=replica, device=device).sample(n, seed)


class Sampler:
    """Draws images by the networks of one checkpoint. The same seed gives the same latents on every device.

    Attributes:
        classes: names of the classes that it can be asked for; () where it cannot.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Checkpoint,
        *,
        task: type[Task] | None = None,
        replica: int = 0,
        device: str = "cpu",
    ) -> None:
        """
        Args:
            source: what `find_checkpoint` takes, or what it returned.
            task: the task's class, for a task that a sweep script defines.
            replica: which one, of a trial with several seeds.

        Raises:
            GenlabError: nothing was trained there, no such replica, or a task that draws no images.
            CorruptFile: the checkpoint is damaged.
        """
        checkpoint = source if isinstance(source, Checkpoint) else find_checkpoint(source)
        made, self._networks = restore(checkpoint, task=task, replica=replica, device=device)
        if not isinstance(made, GenerativeTask):
            raise GenlabError(
                f"the task {checkpoint.task} draws no images from latents: only what was trained by a GenerativeTask, "
                "such as gan, can be sampled"
            )
        self._task, self._device = made, device
        self.classes = made.drawn_classes

    def sample(self, n: int = 64, seed: int = 0) -> np.ndarray:
        """Images uint8 [n, H, W, C]; of a conditional network of its classes in turn.

        Raises:
            GenlabError: n is less than 1.
        """
        return self._draw(self._latents(n, seed), self._task.labels_in_turn(n))

    def per_class(self, n: int = 8, seed: int = 0) -> np.ndarray:
        """Images uint8 [classes, n, H, W, C]: a class a row, of the same latent in each column.

        Raises:
            GenlabError: n is less than 1, or it cannot be asked for a class.
        """
        if not self.classes:
            raise GenlabError("these networks cannot be asked for a class: they were trained without labels")
        latents, count = self._latents(n, seed), len(self.classes)
        images = self._draw(latents.repeat(count, 1), torch.arange(count).repeat_interleave(n))
        return images.reshape(count, n, *images.shape[1:])

    def interpolate(self, n: int = 4, steps: int = 10, *, spherical: bool = True, seed: int = 0) -> np.ndarray:
        """Images uint8 [n, steps, H, W, C] between n pairs of latents, the same ones for both kinds of path.

        A conditional network draws a row of one class, the classes in turn.

        Args:
            spherical: along the arc between two latents, as `genlab.models.spherical_path`; else the straight line.

        Raises:
            GenlabError: n is less than 1, or steps less than 2.
        """
        if steps < 2:
            raise GenlabError(f"steps is {steps}: a path has two ends, so it must be 2 or more")
        start, end = self._latents(2 * n, seed).view(n, 2, -1).unbind(1)
        path = (spherical_path if spherical else linear_path)(start, end, steps).transpose(0, 1)
        labels = self._task.labels_in_turn(n)
        images = self._draw(path.flatten(0, 1), None if labels is None else labels.repeat_interleave(steps))
        return images.reshape(n, steps, *images.shape[1:])

    def _latents(self, count: int, seed: int) -> Tensor:
        if count < 1:
            raise GenlabError(f"n is {count}: it must be 1 or more")
        return self._task.latents(count, generator(seed, "sampling"))

    def _draw(self, latents: Tensor, labels: Tensor | None) -> np.ndarray:
        """uint8 [N, H, W, C] of latents [N, nz] and labels [N]."""
        drawn = []
        with torch.inference_mode():
            for items in torch.arange(len(latents)).split(BATCH):
                own = None if labels is None else labels[items].to(self._device)
                drawn.append(to_uint8(self._task.generate(self._networks, latents[items].to(self._device), own)))
        return np.concatenate(drawn)


def find_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """What was trained at a path or URL.

    Args:
        path: of a checkpoint (`….state.safetensors`), of a trial's folder, whose last epoch is taken, or of a sweep's,
            whose best trial is.

    Raises:
        GenlabError: there is no such thing, or nothing was trained to its end there.
        CorruptFile: it is damaged.
    """
    if str(path).endswith(".safetensors"):
        return Checkpoint.read(path)
    url, name = locate(path)
    sweep = open_sweep(url)
    return (sweep.best() if name is None else sweep.trial(name)).saved()
