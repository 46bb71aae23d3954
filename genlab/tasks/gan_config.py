"""The settings of the GAN task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from genlab.data.names import check_name
from genlab.errors import GenlabError
from genlab.tasks.classifier_config import ClassifierConfig
from genlab.tasks.config import Augmentation, ImageSize, PhasedConfig
from genlab.tasks.prepared import FromCheckpoint, FromTask, Source

JUDGE_ACCURACY = {"accuracy/clean": 0.6}  # below that its features say little about images (0.97 on digits)


@dataclass(frozen=True, kw_only=True)
class GANConfig(PhasedConfig):
    """A GAN, networks `generator` and `discriminator`, with the loss as a setting.

    Attributes:
        dataset: see `genlab.data.NAMES`; brought to `image_size` pixels a side.
        architecture: of both networks: a DCGAN (Radford et al. 2016), or three fully connected hidden layers.
        conditional: networks that are told an image's class: the generator one-hot beside its noise, the discriminator
            by a plane a class. With `generator` the discriminator is blind to it. `none` needs no labels.
        augment: what is done to real images on the device: `none`, `flip` or `crop_flip`.
        loss: a name in `genlab.losses.ADVERSARIAL`.
        nz, noise: length and distribution of the generator's input.
        ngf, ndf: width of the generator's and the discriminator's narrowest hidden layer; in a DCGAN that is the one
            next to the image.
        lr_generator, lr_discriminator, beta1, beta2: of Adam.
        normalization: of the discriminator's hidden layers. In a DCGAN `batch_after_first` leaves the first one out,
            from which a generator of 64 pixels learns far sooner; a fully connected one takes `none` or `batch`, which
            leaves it out as well. A DCGAN's generator always has BatchNorm, a fully connected one never.
        dropout: share of the discriminator's hidden units that is dropped in training.
        spectral_norm: networks whose convolutions are spectrally normalized. Where BatchNorm follows, it takes the
            scale out again and hardly anything changes: it acts on a discriminator with `normalization="none"`.
        init: `dcgan` for N(0, 0.02), `default` for torch's own, which fully connected networks should have.
        discriminator_steps: discriminator steps before each generator step, on fresh batches.
        reuse_fakes: the generator's step judges the very images that the last discriminator step saw, drawn once.
        evaluation_samples: images drawn an epoch, from noise that stays the same, to be judged and shown; as many
            real ones at most are compared with them.
        judge_steps: training steps of the classifier whose features judge the images. It is trained on `dataset`; a
            warning is shown where its accuracy stays below 0.6.
        judge: checkpoint of another classifier to judge by, an absolute path or a URL: distances of different data
            sets can be compared where it is the same.
        judge_image_size: what generated images are brought to before they are judged, so that distances of different
            sizes can be compared; None for `image_size`.
    """

    implementation: ClassVar[str] = "genlab.tasks.gan:GAN"

    dataset: str = "digits"
    image_size: ImageSize = 32
    augment: Augmentation = "none"
    architecture: Literal["dcgan", "fully_connected"] = "dcgan"
    conditional: Literal["none", "both", "generator"] = "none"
    loss: Literal["non_saturating", "saturating", "least_squares", "hinge"] = "non_saturating"
    nz: int = 100
    noise: Literal["normal", "uniform"] = "normal"
    ngf: int = 32
    ndf: int = 32
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    normalization: Literal["batch", "batch_after_first", "none", "instance"] = "batch"
    dropout: float = 0.0
    spectral_norm: Literal["none", "discriminator", "both"] = "none"
    init: Literal["dcgan", "default"] = "dcgan"
    discriminator_steps: int = 1
    reuse_fakes: bool = False
    evaluation_samples: int = 1000
    judge_steps: int = 400
    judge: str = ""
    judge_image_size: ImageSize | None = None

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        self._at_least(1, "nz", "ngf", "ndf", "discriminator_steps", "judge_steps")
        self._at_least(64, "evaluation_samples")
        self._positive("lr_generator", "lr_discriminator")
        self._within(0.0, 1.0, "beta1", "beta2", "dropout")
        if self.architecture == "fully_connected" and self.normalization not in ("batch", "none"):
            raise GenlabError(
                f"normalization={self.normalization} is for convolutions: fully connected networks take batch or none"
            )

    @property
    def judged_size(self) -> ImageSize:
        """Pixels a side of what the judge reads."""
        return self.judge_image_size or self.image_size

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
            "diversity",
            "classes_covered",
            "class_entropy",
            *(("accuracy/conditional",) if self.conditional != "none" else ()),
            "images_per_second",
            "epoch_seconds",
        )

    def prepare(self) -> Mapping[str, Source]:
        if self.judge:
            return {"judge": FromCheckpoint(self.judge)}
        judge = ClassifierConfig(
            dataset=self.dataset, image_size=self.judged_size, epochs=1, epoch_steps=self.judge_steps, seed=0
        )
        return {"judge": FromTask(judge, expected=JUDGE_ACCURACY)}
