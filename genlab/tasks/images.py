"""What tasks on images share: value ranges, and images as a report takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_signed(images: Tensor) -> Tensor:
    """From [0, 1] to [-1, 1]."""
    return images * 2 - 1


def to_unit(images: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]; what lies outside is clipped."""
    return ((images + 1) / 2).clamp(0, 1)


def quantize(images: Tensor) -> Tensor:
    """Images in [0, 1] rounded to the 256 levels that stored ones have."""
    return (images * 255).round() / 255


def to_uint8(images: Tensor) -> np.ndarray:
    """Images [..., C, H, W] in [0, 1] as a uint8 array [..., H, W, C], as `Report.images` takes them."""
    return (images * 255).round().to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()


def from_figure(figure: Any) -> np.ndarray:
    """A matplotlib figure as one picture, uint8 [H, W, 3], as `Report.images` takes it. The figure is closed."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)  # no display is needed, whatever the user's settings say
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return picture
