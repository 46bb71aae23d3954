"""Latent noise, and the ways between two points of it."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.models import linear_path, sample_latent, spherical_path


def test_latent_shapes_kinds_and_ranges():
    torch.manual_seed(0)
    assert sample_latent(5, 3).shape == (5, 3)
    assert sample_latent((2, 5), 3, "uniform").shape == (2, 5, 3)
    normal, uniform = sample_latent(20_000, 2), sample_latent(20_000, 2, "uniform")
    assert normal.dtype == uniform.dtype == torch.float32
    assert normal.mean().item() == pytest.approx(0, abs=0.03)
    assert normal.std().item() == pytest.approx(1, abs=0.03)
    assert -1 <= uniform.min() < -0.99
    assert 0.99 < uniform.max() <= 1
    assert uniform.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)
    with pytest.raises(ValueError, match="normal, uniform"):
        sample_latent(5, 3, "gaussian")


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_latent_noise_follows_from_its_generator_alone(kind):
    def sample():
        return sample_latent(4, 8, kind, torch.Generator().manual_seed(7), "cpu")

    torch.manual_seed(0)
    first = sample()
    untouched = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(untouched, torch.rand(1))
    assert torch.equal(first, sample())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cpu_generator_gives_every_device_the_same_latent_noise():
    here, there = (sample_latent(4, 8, "normal", torch.Generator().manual_seed(7), to) for to in ("cpu", "cuda"))
    assert there.device.type == "cuda"
    assert torch.equal(here, there.cpu())


def test_a_straight_way_has_equal_steps() -> None:
    start, end = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    path = linear_path(start, end, 6)
    assert path.shape == (6, 3, 5)
    torch.testing.assert_close(path[0], start)
    torch.testing.assert_close(path[-1], end)
    torch.testing.assert_close(path.diff(dim=0), ((end - start) / 5).expand(5, 3, 5))


def test_an_arc_has_equal_angles_and_keeps_the_length() -> None:
    """Of points of one length; between points of two lengths it still begins at the one and ends at the other."""
    start, end = torch.nn.functional.normalize(torch.randn(2, 4, 7, dtype=torch.float64), dim=-1) * 3
    path = spherical_path(start, end, 9)
    torch.testing.assert_close(path.norm(dim=-1), torch.full((9, 4), 3.0, dtype=torch.float64))
    angles = torch.cosine_similarity(path[:-1], path[1:], dim=-1).acos()
    whole = torch.cosine_similarity(start, end, dim=-1).acos()
    torch.testing.assert_close(angles, (whole / 8).expand(8, 4))
    uneven = spherical_path(start, 2 * end, 5)
    torch.testing.assert_close(uneven[0], start)
    torch.testing.assert_close(uneven[-1], 2 * end)


def test_where_there_is_no_arc_the_way_is_straight() -> None:
    start = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 2.0]])
    end = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [2.0, 2.0]])
    path = spherical_path(start, end, 4)
    assert path.isfinite().all()
    torch.testing.assert_close(path, linear_path(start, end, 4))


@pytest.mark.parametrize("path", [linear_path, spherical_path])
def test_a_way_has_two_ends(path) -> None:
    with pytest.raises(ValueError, match="two ends"):
        path(torch.zeros(2), torch.ones(2), 1)


@pytest.mark.parametrize("times", [3.7, -2.0])
def test_latents_on_one_line_have_the_straight_way_between_them_also_where_rounding_shows(times: float) -> None:
    start = torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
    end = times * start
    assert (torch.cosine_similarity(start, end, dim=-1).abs() > 1).any()
    torch.testing.assert_close(spherical_path(start, end, 5), linear_path(start, end, 5))
