"""Images, their concepts, and what models make of them."""

from invkit.data.attributes import read_attributes
from invkit.data.augment import augmented
from invkit.data.concepts import Concept, Pairing, as_concept
from invkit.data.digits import color_digits
from invkit.data.generated import Generated
from invkit.data.images import as_image_set
from invkit.data.imageset import ImageSet, as_bytes, evenly
from invkit.data.latents import decode_all, encode_all, represent_all

__all__ = [
    "Concept",
    "Generated",
    "ImageSet",
    "Pairing",
    "as_bytes",
    "as_concept",
    "as_image_set",
    "augmented",
    "color_digits",
    "decode_all",
    "encode_all",
    "evenly",
    "read_attributes",
    "represent_all",
]
