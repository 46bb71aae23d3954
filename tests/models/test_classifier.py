"""The metric classifier: shapes, refusals, and that it is good and quick enough to judge generators by."""

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from genlab.models import Classifier


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [32, 64, 128])
def test_shapes(image_size, channels):
    model = Classifier(classes=7, channels=channels, image_size=image_size, width=8, features=12).eval()
    images = torch.rand(3, channels, image_size, image_size)
    features, logits = model.features(images), model(images)
    assert features.shape == (3, 12)
    assert logits.shape == (3, 7)
    assert torch.equal(model.head(features), logits)
    assert torch.equal(model.features(images), features)  # the head's ReLU must not write into them


def test_parameter_count_by_hand():
    convolutions = 16 * (1 * 16 + 16 * 32 + 32 * 64)
    norms = 2 * (16 + 32 + 64 + 64)
    assert sum(p.numel() for p in Classifier(classes=10, channels=1, image_size=32).parameters()) == (
        convolutions + norms + 64 * 16 * 64 + 64 * 10 + 10
    )


def test_the_first_layer_sees_black_as_minus_one_and_white_as_one():
    model = Classifier(classes=3, channels=1, image_size=32, width=2)
    seen = []
    model.body[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ramp = torch.linspace(0, 1, 32).expand(2, 1, 32, 32)
    model(ramp)
    torch.testing.assert_close(seen[0][0, 0, 0], torch.linspace(-1, 1, 32))


def test_an_image_in_eval_mode_does_not_depend_on_its_batch():
    model = Classifier(classes=10, channels=1, image_size=32)
    images = torch.rand(8, 1, 32, 32)
    model(images)
    model.eval()
    torch.testing.assert_close(model.features(images)[:1], model.features(images[:1]))


def test_features_have_unit_variance_on_the_images_trained_on():
    torch.manual_seed(0)
    model = Classifier(classes=10, channels=1, image_size=32)
    features = model.features(torch.rand(256, 1, 32, 32))
    torch.testing.assert_close(features.std(dim=0, correction=0), torch.ones(64), atol=1e-2, rtol=0)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(64), atol=1e-4, rtol=0)


def test_one_step_lowers_the_loss_and_changes_every_parameter():
    torch.manual_seed(0)
    model = Classifier(classes=10, channels=1, image_size=32, width=8)
    images, labels = torch.rand(16, 1, 32, 32), torch.arange(16) % 10
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    start = cross_entropy(model(images), labels)
    start.backward()
    optimizer.step()
    assert cross_entropy(model(images), labels) < start
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_start_values_follow_from_torchs_seed_and_state_is_tensors():
    def state(seed):
        torch.manual_seed(seed)
        return Classifier(classes=10, channels=3, image_size=64).state_dict()

    first, again, other = state(0), state(0), state(1)
    assert all(isinstance(value, torch.Tensor) for value in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_refusals():
    good = {"classes": 10, "channels": 1, "image_size": 32}
    with pytest.raises(ValueError, match="32, 64, 128"):
        Classifier(**good | {"image_size": 28})
    with pytest.raises(ValueError, match="classes is 1"):
        Classifier(**good | {"classes": 1})
    with pytest.raises(ValueError, match=r"\[N, 1, 32, 32\]"):
        Classifier(**good)(torch.zeros(2, 3, 32, 32))


def test_reads_more_than_97_percent_of_handwritten_digits_it_has_not_seen():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    images = interpolate(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, size=32, mode="bilinear")
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:1197], order[1197:]
    torch.manual_seed(0)
    model = Classifier(classes=10, channels=1, image_size=32)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(10):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(images[test]).argmax(dim=1) == labels[test]).double().mean().item()
    assert accuracy > 0.97
