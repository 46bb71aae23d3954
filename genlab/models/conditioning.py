"""How a network is told a class: one-hot, beside the noise or as planes beside the image (Mirza & Osindero 2014,
arXiv:1411.1784; the planes as in Perarnau et al. 2016, arXiv:1611.06355)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def with_labels(values: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """Noise [N, nz], or images [N, C, S, S], and behind them the one-hot labels: [N, nz + classes], or [N, C + classes,
    S, S], where the plane of an image's class is 1 and the others are 0.

    Args:
        labels: int64 [N] in 0..classes-1; None where `classes` is 0, and the values stay as they are.

    Raises:
        ValueError: labels without classes, classes without labels, or labels of another shape or type.
    """
    if labels is None:
        if classes:
            raise ValueError(f"this network draws or judges one of {classes} classes: call it with labels, int64 [N]")
        return values
    if not classes:
        raise ValueError("this network knows no classes: call it without labels")
    if labels.shape != values.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype} {list(labels.shape)}; int64 [{len(values)}] is needed")
    told = one_hot(labels, classes).to(values.dtype)
    told = told.view(*told.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return torch.cat((values, told), 1)
