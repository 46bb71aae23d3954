"""Networks, as plain torch modules."""

from genlab.models.classifier import Classifier
from genlab.models.dcgan import (
    IMAGE_SIZES,
    INITS,
    NOISES,
    NORMALIZATIONS,
    Discriminator,
    Generator,
    initialize,
    sample_latent,
)

__all__ = [
    "IMAGE_SIZES",
    "INITS",
    "NOISES",
    "NORMALIZATIONS",
    "Classifier",
    "Discriminator",
    "Generator",
    "initialize",
    "sample_latent",
]
