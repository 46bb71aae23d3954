"""Networks, as plain torch modules."""

from genlab.models.autoencoders import VAE, DenoisingAutoencoder, reparameterize
from genlab.models.checks import IMAGE_SIZES
from genlab.models.classifier import Classifier
from genlab.models.dcgan import (
    INITS,
    NORMALIZATIONS,
    Discriminator,
    Generator,
    initialize,
)
from genlab.models.fully_connected import (
    FULLY_CONNECTED_NORMALIZATIONS,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from genlab.models.latent import NOISES, linear_path, sample_latent, spherical_path

__all__ = [
    "FULLY_CONNECTED_NORMALIZATIONS",
    "IMAGE_SIZES",
    "INITS",
    "NOISES",
    "NORMALIZATIONS",
    "VAE",
    "Classifier",
    "DenoisingAutoencoder",
    "Discriminator",
    "FullyConnectedDiscriminator",
    "FullyConnectedGenerator",
    "Generator",
    "initialize",
    "linear_path",
    "reparameterize",
    "sample_latent",
    "spherical_path",
]
