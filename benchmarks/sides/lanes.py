"""The trivial trial of `trial_overhead.py` on genlab's lanes: a sweep like any other, with all that a sweep keeps.

uv run benchmarks/sides/lanes.py --workers 2 --trials 30 --scheduler fifo
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genlab.sweep import Sweep, log_uniform, main
from genlab.tasks import Adam, Inputs, Phase, PhasedConfig, PhasedTask, Report, Stream

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LineConfig(PhasedConfig):
    """As little as can be trained. The batch is shared by two workers: 32 samples each."""

    batch_size: int = 64
    epoch_steps: int | None = 2
    lr: float = 1e-3

    def reports(self) -> tuple[str, ...]:
        return ("loss/line",)


class Line(PhasedTask):
    """One linear layer. Torch is imported where it trains: the sweep's driver needs none."""

    Config = LineConfig

    def networks(self) -> dict[str, Any]:
        import torch

        return {"line": lambda: torch.nn.Linear(10, 1)}

    def streams(self) -> dict[str, Stream]:
        import torch

        from genlab.data import ImageSet

        pixels = torch.randint(256, (640, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return {"dots": Stream(ImageSet("dots", "train", pixels, None, ()))}

    def phases(self) -> list[Phase]:
        return [Phase("line", {"line": Adam(self.config.lr)}, line_loss, draws=("dots",))]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report()


def line_loss(networks: Any, inputs: Inputs, config: LineConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean square of what the layer makes of ten pixels."""
    return networks["line"](inputs["dots"].images.flatten(1)[:, :10]).square().mean(), {}


SWEEP = Sweep(
    name="line",
    task=Line,
    metric="loss/line",
    settings={"epochs": 5},
    space={"lr": log_uniform(1e-4, 1e-2)},
    trials=30,
)

if __name__ == "__main__":
    main(SWEEP)
