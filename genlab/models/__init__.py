"""Networks, as plain torch modules."""

from genlab.models.classifier import Classifier
from genlab.models.dcgan import IMAGE_SIZES, INITS, NOISES, Discriminator, Generator, initialize, noise

__all__ = [
    "IMAGE_SIZES",
    "INITS",
    "NOISES",
    "Classifier",
    "Discriminator",
    "Generator",
    "initialize",
    "noise",
]
