"""Torch's optimizers from a task's settings, and their state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genlab.tasks.optimizers import Adam, Optimizer


class Updater:
    """Updates the parameters of one network in one phase."""

    def __init__(self, settings: Optimizer, parameters: list[nn.Parameter]) -> None:
        self.settings, self.parameters = settings, parameters
        common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
        if isinstance(settings, Adam):
            self.optimizer: Any = torch.optim.Adam(parameters, betas=(settings.beta1, settings.beta2), **common)
        else:
            self.optimizer = torch.optim.SGD(
                parameters, momentum=settings.momentum, nesterov=settings.nesterov, **common
            )

    def step(self, progress: float) -> None:
        """One update by the gradients that the parameters have, at the rate of this training progress."""
        if self.settings.rate is not None:
            self.optimizer.param_groups[0]["lr"] = self.settings.lr * self.settings.rate(progress)
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def save(self) -> dict[str, Tensor]:
        """Its tensors by `<number of the parameter>/<name>`."""
        return {
            f"{number}/{name}": value
            for number, own in self.optimizer.state_dict()["state"].items()
            for name, value in own.items()
            if isinstance(value, Tensor)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `save()` returned."""
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in tensors.items():
            number, _, name = path.partition("/")
            # a fused optimizer walks memory: its state must lie as its parameters do
            like = self.parameters[int(number)]
            state.setdefault(int(number), {})[name] = (
                torch.empty_like(like, requires_grad=False).copy_(tensor) if tensor.ndim else tensor
            )
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
