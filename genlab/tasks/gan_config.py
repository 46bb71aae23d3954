"""The settings of the GAN task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from genlab.data.names import check_name
from genlab.tasks.classifier_config import ClassifierConfig
from genlab.tasks.config import Augmentation, ImageSize, PhasedConfig
from genlab.tasks.prepared import FromCheckpoint, FromTask, Source

JUDGE_ACCURACY = {"accuracy/clean": 0.6}  # below that its features say little about images (0.97 on digits)


@dataclass(frozen=True, kw_only=True)
class GANConfig(PhasedConfig):
    """A DCGAN (Radford et al. 2016), networks `generator` and `discriminator`, with the loss as a setting.

    Attributes:
        dataset: see `genlab.data.NAMES`; brought to `image_size` pixels a side.
        augment: what is done to real images on the device: `none`, `flip` or `crop_flip`.
        loss: a name in `genlab.losses.ADVERSARIAL`.
        nz, noise: length and distribution of the generator's input.
        ngf, ndf: width of the generator's and the discriminator's layer next to the image.
        lr_generator, lr_discriminator, beta1, beta2: of Adam.
        normalization: of the discriminator's hidden layers; the generator always has BatchNorm.
        spectral_norm: networks whose convolutions are spectrally normalized. Where BatchNorm follows, it takes the
            scale out again and hardly anything changes: it acts on a discriminator with `normalization="none"`.
        init: `dcgan` for N(0, 0.02), `default` for torch's own.
        discriminator_steps: discriminator steps before each generator step, on fresh batches.
        reuse_fakes: the generator's step judges the very images that the last discriminator step saw, drawn once.
        evaluation_samples: images drawn an epoch, from noise that stays the same, to be judged and shown; as many
            real ones at most are compared with them.
        judge_steps: training steps of the classifier whose features judge the images. It is trained on `dataset`; a
            warning is shown where its accuracy stays below 0.6.
        judge: checkpoint of another classifier to judge by, an absolute path or a URL: distances of different data
            sets can be compared where it is the same.
    """

    implementation: ClassVar[str] = "genlab.tasks.gan:GAN"

    dataset: str = "digits"
    image_size: ImageSize = 32
    augment: Augmentation = "none"
    loss: Literal["non_saturating", "saturating", "least_squares", "hinge"] = "non_saturating"
    nz: int = 100
    noise: Literal["normal", "uniform"] = "normal"
    ngf: int = 32
    ndf: int = 32
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    normalization: Literal["batch", "none", "instance"] = "batch"
    spectral_norm: Literal["none", "discriminator", "both"] = "none"
    init: Literal["dcgan", "default"] = "dcgan"
    discriminator_steps: int = 1
    reuse_fakes: bool = False
    evaluation_samples: int = 1000
    judge_steps: int = 400
    judge: str = ""

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        self._at_least(1, "nz", "ngf", "ndf", "discriminator_steps", "judge_steps")
        self._at_least(64, "evaluation_samples")
        self._positive("lr_generator", "lr_discriminator")
        self._within(0.0, 1.0, "beta1", "beta2")

    def reports(self) -> tuple[str, ...]:
        return (
            "loss/generator",
            "loss/discriminator",
            "score/real",
            "score/fake",
            "evaluation/score/real",
            "evaluation/score/fake",
            "frechet_distance",
            "kid",
            "precision",
            "recall",
            "density",
            "coverage",
            "classes_covered",
            "class_entropy",
            "images_per_second",
            "epoch_seconds",
        )

    def prepare(self) -> Mapping[str, Source]:
        if self.judge:
            return {"judge": FromCheckpoint(self.judge)}
        judge = ClassifierConfig(
            dataset=self.dataset, image_size=self.image_size, epochs=1, epoch_steps=self.judge_steps, seed=0
        )
        return {"judge": FromTask(judge, expected=JUDGE_ACCURACY)}
