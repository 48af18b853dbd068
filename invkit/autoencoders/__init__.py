"""Autoencoders E, D: images to complete codes z̄ and back; their training, saving and loading.

- :mod:`.conv`, :mod:`.big`: the architectures; :mod:`.biggan`, :mod:`.spectral`: the generator of the second.
- :mod:`.settings`, :mod:`.build`: from settings to an autoencoder with its initial weights.
- :mod:`.task`: the loss, made of :mod:`.metric` and :mod:`.discriminator`.
- :mod:`.fit`: train, or find in the cache; :mod:`.train`: the user's function; :mod:`.trained`: its result.
- :mod:`.sheet`: the images that a page or a folder shows.
- :mod:`.loading`: from folders and plugins; :mod:`.released`: from the authors' weights.
"""

from invkit.autoencoders.big import BigAutoencoder
from invkit.autoencoders.build import build_autoencoder, check_size
from invkit.autoencoders.conv import ConvAutoencoder
from invkit.autoencoders.discriminator import PatchDiscriminator
from invkit.autoencoders.fit import file_of, fit_autoencoder, key_of
from invkit.autoencoders.loading import describe, is_built_in, load_autoencoder, rebuild
from invkit.autoencoders.metric import ImageMetric
from invkit.autoencoders.settings import AutoencoderSettings
from invkit.autoencoders.task import AutoencoderTask
from invkit.autoencoders.train import train_autoencoder
from invkit.autoencoders.trained import TrainedAutoencoder, as_autoencoder, training_settings

__all__ = [
    "AutoencoderSettings",
    "AutoencoderTask",
    "BigAutoencoder",
    "ConvAutoencoder",
    "ImageMetric",
    "PatchDiscriminator",
    "TrainedAutoencoder",
    "as_autoencoder",
    "build_autoencoder",
    "check_size",
    "describe",
    "file_of",
    "fit_autoencoder",
    "is_built_in",
    "key_of",
    "load_autoencoder",
    "rebuild",
    "train_autoencoder",
    "training_settings",
]
