"""Tasks whose networks draw images: what they have in common, trained and afterwards."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genlab.models import linear_path, spherical_path
from genlab.randomness import generator as seeded
from genlab.tasks.base import PhasedTask, Pictures
from genlab.tasks.images import to_uint8

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

PAIRS, POINTS = 3, 8  # paths between two latents that a report shows, and the images of each
WAYS = {"linear": linear_path, "spherical": spherical_path}


class GenerativeTask(PhasedTask):
    """A task that draws images from latents, and of a class where it was trained so.

    `latents`, `generate` and `drawn_classes` work on what a checkpoint holds: they read no data set and call no network
    of `given()`.
    """

    @property
    def drawn_classes(self) -> tuple[str, ...]:
        """Names of the classes that `generate` can be asked for; () where it cannot."""
        return ()

    @abc.abstractmethod
    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents [count, nz] from `generator`, on its device."""

    @abc.abstractmethod
    def generate(self, networks: Networks, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, S, S] in [0, 1].

        Args:
            networks: as modules, in evaluation mode.
            latents: [N, nz].
            labels: int64 [N], numbers of `drawn_classes`; None where there are none.
        """

    def generate_shared(self, networks: Networks, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """`generate` for an evaluation: each rank draws its share of the images, and every one gets all of them."""

        def own(items: Tensor) -> Tensor:
            items = items.to(latents.device)
            return self.generate(networks, latents[items], None if labels is None else labels[items])

        return self.context.map_shards(len(latents), own)

    def labels_in_turn(self, count: int, device: torch.device | str = "cpu") -> Tensor | None:
        """Class 0, 1, ... and over again, int64 [count]; None where `generate` takes none."""
        return torch.arange(count, device=device) % len(self.drawn_classes) if self.drawn_classes else None

    def interpolation(self, networks: Networks, epoch: int) -> dict[str, Pictures]:
        """Images on the way from one latent to another, as `interpolation` of a report: uint8 [6, 8, S, S, C].

        Three pairs of latents, the same in every epoch; of each a row along the straight line and one along the arc
        (`linear_path`, `spherical_path`), of one class where there are classes. In the first, the middle and the last
        epoch; in the others {}.
        """
        epochs = self.config.epochs
        if epoch not in (1, (epochs + 1) // 2, epochs):
            return {}
        device = self.context.device
        start, end = self.latents(2 * PAIRS, seeded(self.config.seed, "interpolation", device=device)).chunk(2)
        ways = torch.stack([path(start, end, POINTS) for path in WAYS.values()])
        points = ways.permute(2, 0, 1, 3)  # [pair, way, point, nz]
        labels = self.labels_in_turn(PAIRS, device)
        if labels is not None:
            labels = labels.repeat_interleave(2 * POINTS)
        images = self.generate_shared(networks, points.flatten(0, 2), labels)
        images = to_uint8(images.view(2 * PAIRS, POINTS, *images.shape[1:]))
        return {"interpolation": Pictures(images, rows=(*WAYS,) * PAIRS)}
