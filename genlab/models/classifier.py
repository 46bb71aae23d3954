"""A small classifier: its predictions show which classes a generator covers, its features how far it is off."""

from __future__ import annotations

from torch import Tensor, nn

from genlab.models.checks import check_image_size, check_images


class Classifier(nn.Module):
    """Images [N, channels, image_size, image_size] in [0, 1] -> logits [N, classes].

    Convolutions of kernel 4 and stride 2 with BatchNorm and ReLU take the image down to 4 × 4: at 32 pixels to
    `width` / 2, `width` and 2·`width` channels; 64 and 128 pixels have one and two more layers of `width` / 2 in front.
    A linear layer with BatchNorm gives `features`, and a last one, after a ReLU, the logits. About 1.2 million
    multiplications an image at 32 pixels and one channel, 2.4 million at 64, 7.4 million at 128.

    Train with two images a batch or more: BatchNorm of the features has no variance to take from one.

    Raises ValueError for an unknown `image_size`, a width below 2, fewer than two classes, or images of another shape.
    """

    def __init__(self, *, classes: int, channels: int, image_size: int, width: int = 32, features: int = 64) -> None:
        super().__init__()
        check_image_size(image_size)
        for name, value, least in (
            ("classes", classes, 2),
            ("channels", channels, 1),
            ("width", width, 2),
            ("features", features, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        self.image_shape = (channels, image_size, image_size)
        in_front = image_size.bit_length() - 6  # 0, 1 or 2 layers more than at 32 pixels
        layers: list[nn.Module] = []
        width_in = channels
        for width_out in [width // 2] * (in_front + 1) + [width, 2 * width]:
            layers += [
                nn.Conv2d(width_in, width_out, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width_out),
                nn.ReLU(inplace=True),
            ]
            width_in = width_out
        self.body = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(16 * width_in, features, bias=False), nn.BatchNorm1d(features)
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(features, classes))

    def features(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> [N, features], what the last layer reads, before its ReLU.

        Fit for a Fréchet distance, which assumes Gaussians: no feature is dead or cut off at 0, and BatchNorm gives
        all of them about the same variance on the training data, so that no few outweigh the rest. Use `eval()` mode:
        otherwise an image's features depend on its batch.
        """
        check_images(images, self.image_shape, "classifier")
        return self.body(images * 2 - 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))
