"""Image sets, concepts, and latents: loading, storage, augmentation."""

from invkit.data.attributes import read_attributes
from invkit.data.augment import augmented
from invkit.data.concepts import Concept, Pairing, as_concept
from invkit.data.digits import color_digits
from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet, evenly_spaced, to_uint8
from invkit.data.latent_store import check_latents_fit
from invkit.data.latents import check_finite, decode_all, encode_all, latent_codes, represent_all
from invkit.data.loading import as_image_set
from invkit.data.storage import Codes, FileRows, Rows, StoredImages, concatenate_images
from invkit.data.transforms import resize_and_crop

__all__ = [
    "Codes",
    "Concept",
    "FileRows",
    "Generated",
    "ImageSet",
    "Pairing",
    "Rows",
    "StoredImages",
    "as_concept",
    "as_image_set",
    "augmented",
    "check_finite",
    "check_latents_fit",
    "color_digits",
    "concatenate_images",
    "decode_all",
    "encode_all",
    "evenly_spaced",
    "latent_codes",
    "read_attributes",
    "represent_all",
    "resize_and_crop",
    "to_uint8",
]
