"""Spectral normalization (Miyato et al. 2018, arXiv:1802.05957) in few operations, and fit for `torch.func.vmap`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_EPSILON = 1e-12
"""Keeps zero weights from dividing by zero; lost in rounding beside any usual weight."""


class _SpectralNorm(nn.Module):
    """A weight -> the weight over its estimated largest singular value; see `spectral_norm`."""

    u: Tensor

    def __init__(self, weight: Tensor, output_dim: int) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.register_buffer("u", weight.new_empty(weight.shape[output_dim]).normal_())
        with torch.no_grad():
            for _ in range(15):  # as many as torch's own; the first gives u length 1
                self(weight)

    def forward(self, weight: Tensor) -> Tensor:
        # Columns in the order in which they lie in memory, so that no copy is needed; it changes no singular value.
        columns = [dim for dim in range(weight.ndim) if dim != self.output_dim]
        columns.sort(key=weight.stride, reverse=True)
        order = [self.output_dim, *columns]
        matrix = (weight if order == sorted(order) else weight.permute(order)).flatten(1)
        with torch.no_grad():
            v = torch.mv(matrix.T, self.u)
            v /= torch.linalg.vector_norm(v) + _EPSILON
        # s = W·v. The small share of u matters for zero weights alone: s is then not 0, and u stays as it is.
        s = torch.addmv(self.u, matrix, v, beta=_EPSILON)
        with torch.no_grad():
            u = s / torch.linalg.vector_norm(s)
            if self.training:
                self.u.copy_(u)
        sigma = torch.dot(u, s)  # |s|; its gradient by W is u·vᵀ, in fewer operations than that of the norm
        return weight / sigma


def spectral_norm(module: nn.Module, name: str = "weight") -> nn.Module:
    """Parametrizes `module.<name>` as W / sigma, and returns the module; sigma estimates W's largest singular value.

    W is the tensor seen as a matrix with a row per output channel: dimension 0, or 1 of a transposed convolution. One
    vector is kept, the buffer `u` [output channels] of length 1. Every read of the weight computes

        v = Wᵀu / |Wᵀu|,  s = W·v,  sigma = |s|,

    and in training mode sets u to s / |s|: one step of the power iteration of Miyato et al. 2018, algorithm 1. In
    evaluation mode u stays. `u` begins at random, by torch's global generator, with 15 such steps. v and u are
    constants for autograd, so sigma's gradient is u·vᵀ, which is exact at convergence.

    Nothing that autograd keeps is changed in place, so several forwards may come before a backward. The weights and `u`
    of several networks can be stacked and run by `torch.func.functional_call` under `torch.func.vmap`. Nothing waits
    for the device. Zero weights stay zero. The weight's memory format is kept; of the usual ones only a contiguous
    kernel of a transposed convolution is copied to be read as a matrix.

    Inside `torch.nn.utils.parametrize.cached()` the weight is computed, and u updated, once for all forwards. These
    must then share one backward, the first of them must be with gradients if any is, and all must be with the same
    weights: `cached` goes inside a function that is given to `functional_call` or `vmap`, not around several calls.

    Raises ValueError for a weight of fewer than two dimensions.
    """
    weight = getattr(module, name)
    if weight.ndim < 2:
        raise ValueError(f"{name} has shape {list(weight.shape)}; spectral normalization needs two dimensions or more")
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    parametrize.register_parametrization(module, name, _SpectralNorm(weight, int(transposed)))
    return module
