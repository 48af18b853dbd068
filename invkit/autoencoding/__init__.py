"""Training the autoencoder of a set of images, once for all models and layers that are explained on it."""

from invkit.autoencoding.building import build_autoencoder, check_size
from invkit.autoencoding.fitting import autoencoder_task, file_of, fit_autoencoder, key_of
from invkit.autoencoding.train import train_autoencoder
from invkit.autoencoding.trained import TrainedAutoencoder, as_autoencoder, training_settings

__all__ = [
    "TrainedAutoencoder",
    "as_autoencoder",
    "autoencoder_task",
    "build_autoencoder",
    "check_size",
    "file_of",
    "fit_autoencoder",
    "key_of",
    "train_autoencoder",
    "training_settings",
]
