"""Autoencoders E, D: images to complete codes z̄ and back; their training, saving and loading."""

from invkit.autoencoders.big import BigAutoencoder
from invkit.autoencoders.building import build_autoencoder, check_size
from invkit.autoencoders.conv import ConvAutoencoder
from invkit.autoencoders.discriminator import PatchDiscriminator
from invkit.autoencoders.fitting import file_of, fit_autoencoder, key_of
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
