from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genlab.data import Batches, ImageSet, shard
from genlab.errors import GenlabError


def numbered(count: int, channels: int = 1, size: int = 8, classes: int = 10) -> ImageSet:
    """Image i holds i in its first pixels (base 256), so that a batch tells which images it has."""
    images = torch.zeros(count, channels, size, size, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count) % 256
    images[:, 0, 0, 1] = torch.arange(count) // 256
    return ImageSet("numbered", "train", images, torch.arange(count) % classes, tuple(map(str, range(classes))))


def which(images: Tensor) -> list[int]:
    """The numbers of the images in a batch of a numbered set."""
    pixels = (images * 255).round().int()
    return (pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 0, 1]).tolist()


def values_of(labels: Tensor | None) -> list[int]:
    assert labels is not None
    return labels.tolist()


@st.composite
def cases(draw: st.DrawFn) -> tuple[ImageSet, dict[str, int]]:
    world_size = draw(st.integers(1, 4))
    count = draw(st.integers(world_size, 300))
    batch_size = world_size * draw(st.integers(1, 80 // world_size))
    return numbered(count), {"batch_size": batch_size, "world_size": world_size, "seed": draw(st.integers(0, 5))}


@given(cases(), st.integers(0, 2))
def test_a_pass_holds_no_image_twice_and_ranks_make_up_one_process(case: tuple, number: int) -> None:
    image_set, settings = case
    world_size = settings.pop("world_size")
    ranks = [Batches(image_set, **settings, rank=rank, world_size=world_size) for rank in range(world_size)]
    steps = ranks[0].steps_per_pass
    batches = [[rank.batch(number * steps + i) for rank in ranks] for i in range(steps)]
    sizes = {len(batch.images) for step in batches for batch in step}
    assert len(sizes) == 1
    together = [index for step in batches for batch in step for index in which(batch.images)]
    assert len(set(together)) == len(together) >= len(image_set) - max(settings["batch_size"], world_size) + 1
    labels = [label for step in batches for batch in step for label in values_of(batch.labels)]
    assert labels == [index % 10 for index in together]
    if len(image_set) >= settings["batch_size"]:
        one = Batches(image_set, **settings)
        assert together == [index for i in range(steps) for index in which(one.batch(number * steps + i).images)]


@given(cases(), st.lists(st.integers(0, 200), min_size=1, max_size=8), st.sampled_from(["none", "flip", "crop_flip"]))
def test_a_step_is_the_same_whatever_came_before(case: tuple, steps: list[int], augment: str) -> None:
    image_set, settings = case
    batches = Batches(image_set, **settings, augment=augment)
    for step in steps:
        again = Batches(image_set, **settings, augment=augment).batch(step)
        assert torch.equal(batches.batch(step).images, again.images)


@pytest.mark.parametrize("augment", ["flip", "crop_flip"])
def test_ranks_augment_as_one_process_would(augment: str) -> None:
    torch.manual_seed(0)
    image_set = ImageSet("noise", "train", torch.randint(256, (100, 3, 16, 16), dtype=torch.uint8), None, ())
    one = Batches(image_set, batch_size=24, seed=3, augment=augment)
    four = [Batches(image_set, batch_size=24, seed=3, augment=augment, rank=rank, world_size=4) for rank in range(4)]
    for step in (0, 3, 7):
        together = torch.cat([rank.batch(step).images for rank in four])
        assert torch.equal(together, one.batch(step).images)
    assert one.batch(0).labels is None


def test_passes_seeds_and_names_shuffle_differently() -> None:
    image_set = numbered(64)

    def order(seed: int = 0, name: str = "real", step: int = 0) -> tuple[int, ...]:
        return tuple(which(Batches(image_set, batch_size=64, seed=seed, name=name).batch(step).images))

    orders = {order(), order(seed=1), order(name="other"), order(step=1), tuple(range(64))}
    assert len(orders) == 5


def test_batches_are_float_from_0_to_1_and_own_their_memory() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8).contiguous()
    before = images.clone()
    batches = Batches(
        ImageSet("x", "train", images, torch.ones(4, dtype=torch.int64), ("a", "b")), batch_size=4, seed=0
    )
    batch = batches.batch(0)
    assert batch.images.dtype == torch.float32
    assert (float(batch.images.min()), float(batch.images.max())) == (0.0, 1.0)
    batch.images.zero_()
    assert batch.labels is not None
    batch.labels.zero_()
    assert torch.equal(images, before)
    assert values_of(batches.batch(0).labels) == [1, 1, 1, 1]


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    ranks = [Batches(numbered(10), batch_size=64, seed=0, rank=rank, world_size=4) for rank in range(4)]
    assert [rank.steps_per_pass for rank in ranks] == [1] * 4
    assert len({index for rank in ranks for index in which(rank.batch(5).images)}) == 8


def test_a_set_smaller_than_a_batch_is_told_once_a_case(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for batch_size, world_size in ((50, 1), (64, 1), (64, 2), (96, 4)):
            for rank in range(world_size):
                made = Batches(
                    numbered(50), batch_size=batch_size, rank=rank, world_size=world_size, seed=0, name="told"
                )
                assert len(made.batch(0).images) * world_size == made.global_batch
    assert caplog.messages == [
        "the stream told has 50 images, fewer than batch_size=64: each batch is all 50 of them",
        "the stream told has 50 images, fewer than batch_size=96: each batch is 48 of them",
    ]


def candidates(image: Tensor, augment: str) -> list[Tensor]:
    """Every result that padding, cropping and flipping one uint8 image, the slow way, can have."""
    size = image.shape[-1]
    views = [image]
    if augment == "crop_flip":
        padded = torch.nn.functional.pad(image.float()[None], (4, 4, 4, 4), mode="reflect")[0].to(torch.uint8)
        views = [padded[:, y : y + size, x : x + size] for y in range(9) for x in range(9)]
    return views + [view.flip(2) for view in views]


@pytest.mark.parametrize("augment", ["flip", "crop_flip"])
@pytest.mark.parametrize("size", [5, 12])
def test_augmented_images_are_crops_and_flips_and_all_kinds_come(augment: str, size: int) -> None:
    torch.manual_seed(1)
    image = torch.randint(256, (1, 2, size, size), dtype=torch.uint8)
    image_set = ImageSet("one", "train", image.repeat(2000, 1, 1, 1), None, ())
    batch = (Batches(image_set, batch_size=2000, seed=0, augment=augment).batch(0).images * 255).round().to(torch.uint8)
    expected = {view.contiguous().numpy().tobytes() for view in candidates(image[0], augment)}
    found = {each.numpy().tobytes() for each in batch}
    assert found == expected


def test_augmentation_is_drawn_anew_each_pass_and_keeps_labels() -> None:
    image_set = numbered(50, size=12)
    plain, shifted = (Batches(image_set, batch_size=50, seed=0, augment=augment) for augment in ("none", "crop_flip"))
    assert values_of(plain.batch(0).labels) == values_of(shifted.batch(0).labels)
    images = torch.randint(256, (1, 1, 12, 12), dtype=torch.uint8).repeat(50, 1, 1, 1)
    batches = Batches(ImageSet("one", "train", images, None, ()), batch_size=50, seed=0, augment="crop_flip")
    assert not torch.equal(batches.batch(0).images, batches.batch(1).images)


def test_passes_seeds_and_names_augment_differently() -> None:
    """Two streams of one set are not flipped in step, and half of the images are flipped."""
    images = torch.arange(8, dtype=torch.uint8).expand(200, 1, 8, 8)
    image_set = ImageSet("ramp", "train", images, None, ())

    def flipped(seed: int = 0, name: str = "real", step: int = 0) -> tuple[bool, ...]:
        batch = Batches(image_set, batch_size=200, seed=seed, name=name, augment="flip").batch(step).images
        return tuple((batch[:, 0, 0, 0] > 0).tolist())

    patterns = {flipped(), flipped(seed=1), flipped(name="other"), flipped(step=1)}
    assert len(patterns) == 4
    assert all(60 < sum(pattern) < 140 for pattern in patterns)


def test_the_smallest_sets_and_images_that_will_do() -> None:
    four = [Batches(numbered(4), batch_size=4, seed=0, rank=rank, world_size=4) for rank in range(4)]
    assert sorted(index for rank in four for index in which(rank.batch(0).images)) == [0, 1, 2, 3]
    Batches(numbered(9, size=5), batch_size=3, seed=0, augment="crop_flip").batch(0)
    with pytest.raises(GenlabError, match="larger than 4 pixels, not 4"):
        Batches(numbered(9, size=4), batch_size=3, seed=0, augment="crop_flip")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 10, "world_size": 4}, "multiple of the number of workers, 4"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"batch_size": 128, "world_size": 128}, "fewer than 128 workers"),
        ({"batch_size": 4, "augment": "flipp"}, "did you mean flip"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(GenlabError, match=message):
        Batches(numbered(100), seed=0, **settings)


@given(st.integers(0, 500), st.integers(1, 9))
def test_shards_are_equal_and_hold_every_index_once(count: int, world_size: int) -> None:
    shards = [shard(count, rank, world_size) for rank in range(world_size)]
    assert len({(len(indices), len(mask)) for indices, mask in shards}) == 1
    kept = torch.cat([indices[mask] for indices, mask in shards])
    assert kept.tolist() == list(range(count))
    for indices, _ in shards:
        assert ((indices >= 0) & (indices < max(count, 1))).all()


def test_a_shard_that_does_not_exist_is_refused() -> None:
    with pytest.raises(GenlabError, match="rank 3 of 3"):
        shard(10, 3, 3)
    with pytest.raises(GenlabError):
        shard(-1, 0, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("augment", ["none", "flip", "crop_flip"])
def test_the_gpu_gives_what_the_cpu_gives_without_waiting(augment: str) -> None:
    image_set = numbered(256, channels=3, size=32)
    cpu, gpu = (Batches(image_set, batch_size=32, seed=0, augment=augment, device=d) for d in ("cpu", "cuda"))
    gpu.batch(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = [gpu.batch(step) for step in range(10)]  # two are of the next pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step, batch in enumerate(batches):
        assert torch.allclose(batch.images.cpu(), cpu.batch(step).images, atol=1e-6)
